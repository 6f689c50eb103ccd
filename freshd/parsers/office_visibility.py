"""Leaves out of an office document what its reader is not shown, as far as the document itself says so simply.

    Word        runs that are hidden, by themselves or by their style, or smaller than can be read
    Excel       sheets, rows and columns that are hidden
    PowerPoint  slides that are skipped, shapes that are hidden

Not judged: colours (white on a dark cell is common), what lies off the page or under something else,
conditions, comments and tracked deletions (their readers leave those out themselves), speaker notes (kept).
"""

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from freshd.parsers.archive import Archive, parse_part

VERSION = "office-visibility-1"

_OFF: Final = frozenset({"0", "false", "off", "none"})
_TINY_HALF_POINTS: Final = 2
"""One point: less is not read by people. HTML is judged by the same measure."""

_MAYBE_WORD = re.compile(rb"vanish|:sz [^>]*val=[\"'][0-2][\"']")
_MAYBE_HIDDEN = re.compile(rb"hidden=[\"']", re.IGNORECASE)
_MAYBE_HIDDEN_SHEET = re.compile(rb"state=[\"'](?:veryH|h)idden", re.IGNORECASE)
_MAYBE_SKIPPED = re.compile(rb"show=[\"'](?:0|false)")
_COLUMN = re.compile(r"[A-Z]{1,3}")


def without_hidden(archive: Archive, sources: Mapping[str, bytes]) -> dict[str, bytes]:
    """Give the parts that hide something, without it.

    Args:
        archive: The document.
        sources: Its XML parts by name.

    """
    changed: dict[str, bytes] = {}
    styles = _hiding_styles(sources.get("word/styles.xml"))
    for name, source in sources.items():
        change = _change_for(name, source, styles)
        if change is not None:
            root = parse_part(name, source)
            change(root)
            changed[name] = _written(root)
    skipped = {name for name, source in sources.items() if name.startswith("ppt/slides/slide") and _is_skipped(source)}
    if skipped and "ppt/presentation.xml" in archive:
        changed["ppt/presentation.xml"] = _without_slides(sources, skipped)
    return changed


def _change_for(name: str, source: bytes, styles: frozenset[str]) -> Callable[[Any], None] | None:
    """Choose what is to be done with a part; None for nothing."""
    if name.startswith("word/") and name.endswith(".xml"):
        is_worth_it = bool(styles) or _MAYBE_WORD.search(source)
        return (lambda root: _drop_runs(root, styles)) if is_worth_it and name != "word/styles.xml" else None
    if name == "xl/workbook.xml":
        return _drop_sheets if _MAYBE_HIDDEN_SHEET.search(source) else None
    if name.startswith("xl/worksheets/"):
        return _drop_cells if _MAYBE_HIDDEN.search(source) else None
    if name.startswith(("ppt/slides/", "ppt/notesSlides/")):
        return _drop_shapes if _MAYBE_HIDDEN.search(source) else None
    return None


def _written(root: Any) -> bytes:
    from lxml import etree

    written: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8", standalone=True)
    return written


def _local(element: Any) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _attribute(element: Any, name: str) -> str:
    """Read an attribute whatever its namespace; empty if it is not there."""
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")


def _children(element: Any, *path: str) -> Iterator[Any]:
    """Yield descendants by their local names, one level for each."""
    if not path:
        yield element
        return
    for child in element:
        if _local(child) == path[0]:
            yield from _children(child, *path[1:])


def _is_on(element: Any) -> bool:
    """Read a switch of Word: there and not off."""
    return _attribute(element, "val").lower() not in _OFF


def _says_hidden(properties: Any) -> bool | None:
    """Tell whether run properties hide their run; None where they say nothing of it."""
    said: bool | None = None
    for element in properties:
        name = _local(element)
        if name == "vanish":
            said = _is_on(element)
        elif name == "sz" and (size := _attribute(element, "val")).isdigit() and int(size) <= _TINY_HALF_POINTS:
            return True
    return said


def _hiding_styles(source: bytes | None) -> frozenset[str]:
    """Name the styles of Word whose text is hidden, those based on hiding ones among them."""
    if source is None or not _MAYBE_WORD.search(source):
        return frozenset()
    said: dict[str, bool | None] = {}
    bases: dict[str, str] = {}
    for style in _children(parse_part("word/styles.xml", source), "style"):
        name = _attribute(style, "styleId")
        answers = map(_says_hidden, _children(style, "rPr"))
        said[name] = next((answer for answer in answers if answer is not None), None)
        bases[name] = next((_attribute(base, "val") for base in _children(style, "basedOn")), "")
    return frozenset(name for name in said if _hides(name, said, bases))


def _hides(name: str, said: Mapping[str, bool | None], bases: Mapping[str, str]) -> bool:
    seen: set[str] = set()
    while name in said and name not in seen:
        seen.add(name)
        answer = said[name]
        if answer is not None:
            return answer
        name = bases[name]
    return False


def _drop_runs(root: Any, styles: frozenset[str]) -> None:
    """Remove the hidden runs of a part of Word."""
    hiding: dict[Any, bool] = {}  # of each paragraph once: asked anew for each of its runs, it took the square of them
    for run in [element for element in root.iter() if _local(element) == "r"]:
        if _is_hidden_run(run, styles, hiding):
            run.getparent().remove(run)


def _is_hidden_run(run: Any, styles: frozenset[str], hiding: dict[Any, bool]) -> bool:
    for properties in _children(run, "rPr"):
        said = _says_hidden(properties)
        if said is not None:
            return said
        if any(_attribute(style, "val") in styles for style in _children(properties, "rStyle")):
            return True
    if not styles:
        return False
    paragraph = next((element for element in run.iterancestors() if _local(element) == "p"), None)
    if paragraph is None:
        return False
    if paragraph not in hiding:
        named = _children(paragraph, "pPr", "pStyle")
        hiding[paragraph] = any(_attribute(style, "val") in styles for style in named)
    return hiding[paragraph]


def _drop_sheets(root: Any) -> None:
    """Remove hidden sheets of a workbook, and what counts sheets by their place."""
    for sheet in list(_children(root, "sheets", "sheet")):
        if "hidden" in _attribute(sheet, "state").lower():
            sheet.getparent().remove(sheet)
    for element in [*_children(root, "definedNames"), *_children(root, "bookViews")]:
        root.remove(element)


def _drop_cells(root: Any) -> None:
    """Remove the hidden rows and columns of a sheet."""
    hidden = {
        number
        for column in _children(root, "cols", "col")
        if _is_true(_attribute(column, "hidden"))
        for number in _numbers(column)
    }
    for row in list(_children(root, "sheetData", "row")):
        if _is_true(_attribute(row, "hidden")):
            row.getparent().remove(row)
        elif hidden:
            for cell in [cell for cell in row if _column_of(cell) in hidden]:
                row.remove(cell)


_MOST_COLUMNS: Final = 16_384
"""Of a sheet, by its format."""


def _numbers(column: Any) -> range:
    first, last = _attribute(column, "min"), _attribute(column, "max")
    if not (first.isdigit() and last.isdigit()):
        return range(0)
    return range(int(first), min(int(last), _MOST_COLUMNS) + 1)


def _column_of(cell: Any) -> int:
    """Give the number of a cell's column, 1 for A; 0 where it does not say."""
    found = _COLUMN.match(_attribute(cell, "r"))
    number = 0
    for letter in found[0] if found else "":
        number = number * 26 + ord(letter) - ord("A") + 1
    return number


def _is_true(value: str) -> bool:
    return value.lower() in ("1", "true")


def _drop_shapes(root: Any) -> None:
    """Remove the hidden shapes of a slide."""
    for properties in [element for element in root.iter() if _local(element) == "cNvPr"]:
        if _is_true(_attribute(properties, "hidden")):
            shape = properties.getparent().getparent()
            if shape is not None and shape.getparent() is not None:
                shape.getparent().remove(shape)


def _is_skipped(source: bytes) -> bool:
    if not _MAYBE_SKIPPED.search(source):
        return False
    return _attribute(parse_part("ppt/slides", source), "show").lower() in _OFF


def _without_slides(sources: Mapping[str, bytes], skipped: set[str]) -> bytes:
    """Give the presentation without the slides that it skips."""
    root = parse_part("ppt/presentation.xml", sources["ppt/presentation.xml"])
    relations = sources.get("ppt/_rels/presentation.xml.rels", b"<Relationships/>")
    targets = {
        _attribute(relation, "Id"): posixpath.normpath(posixpath.join("ppt", _attribute(relation, "Target")))
        for relation in _children(parse_part("ppt/_rels/presentation.xml.rels", relations), "Relationship")
    }
    for slide in list(_children(root, "sldIdLst", "sldId")):
        relation_ids = [value for key, value in slide.attrib.items() if key.endswith("}id")]
        if any(targets.get(relation_id, "").lstrip("/") in skipped for relation_id in relation_ids):
            slide.getparent().remove(slide)
    return _written(root)
