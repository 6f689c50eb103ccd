"""Whether a reader sees an element of a page, by what the page itself says.

A page may hold text for machines alone: instructions to language models, keywords, traps.
Nothing hidden is indexed. Judged are the element's attributes, its inline style, and the simple `display` rules
of the page's own `<style>`: selectors of one element, its classes and id, outside of at-rules such as `@media`.
Not judged: linked stylesheets, scripts, combinators, and colours that blend in only with a parent's background.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

VERSION = "visibility-3"

_WHOLE_PAGE: Final = frozenset({"html", "body"})
"""What hides all of itself waits for its script, which shows it once it is laid out, or not within another's frame."""

_FAR_AWAY_PX: Final = 500
_PX_PER_UNIT: Final = {"": 1.0, "px": 1.0, "pt": 4 / 3, "em": 16.0, "rem": 16.0, "%": 16.0, "vw": 16.0, "vh": 16.0}
_UNREADABLE_PX: Final = 1.5
_UNREADABLE_SHARE: Final = 0.1
_UNREADABLE_OPACITY: Final = 0.1

_LENGTH = re.compile(r"([+-]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}))(px|pt|em|rem|%|vw|vh)?")
_FAR_TRANSFORM = re.compile(r"translate[^(]*\([^)]*-\d{4,}|scale[xy]?\(\s*0(?:\.0*)?\s*[,)]")
_EMPTY_CLIP = re.compile(r"rect\(\s*[01](?:px)?[\s,]+[01](?:px)?[\s,]|inset\(\s*(?:50|100)%|circle\(\s*0")
_FONT_OF_NO_SIZE = re.compile(r"(?:^|\s)0(?:px|pt|em|rem|%)?(?:\s*/|\s)")
_GROWS = re.compile(r"\d++(?:\.\d++)?+|\.\d++")
_COLOUR = re.compile(r"#[0-9a-f]{3,8}|rgba?\([^()]*\)|[a-z]+")

_NAMED_COLOURS: Final = {
    "white": "#ffffff",
    "black": "#000000",
    "red": "#ff0000",
    "lime": "#00ff00",
    "blue": "#0000ff",
    "yellow": "#ffff00",
    "silver": "#c0c0c0",
    "gray": "#808080",
    "grey": "#808080",
    "snow": "#fffafa",
}
_MOST_STYLE_CHARACTERS: Final = 4000
_MOST_RULES_PER_KEY: Final = 100
"""Rules looked at for one class, id or element name: pages have a few, and every element pays for each."""


@dataclass(frozen=True, slots=True)
class Visibility:
    """Why an element's text is not seen; all False if it is.

    Attributes:
        is_gone: It and everything in it; nothing within can undo that.
        is_concealed: By `visibility`, which a child can undo.
        is_tiny: By a font size of next to nothing, which a child can undo.
        is_blended: By a text colour equal to its background, which a child can undo.

    """

    is_gone: bool = False
    is_concealed: bool = False
    is_tiny: bool = False
    is_blended: bool = False

    @property
    def is_shown(self) -> bool:
        """Tell whether text directly within is seen."""
        return not (self.is_gone or self.is_concealed or self.is_tiny or self.is_blended)


class PageStyle:
    """The `display` rules of a page's own stylesheets, as far as one element decides them."""

    def __init__(self, stylesheets: Iterable[str]) -> None:
        """Read stylesheets in document order; of equal selectors the last rule counts."""
        self._rules: dict[str, dict[_Selector, tuple[int, bool]]] = {}
        for order, (selector, hides) in enumerate(_display_rules(stylesheets)):
            rules = self._rules.setdefault(selector.key, {})
            if len(rules) < _MOST_RULES_PER_KEY or selector in rules:
                rules[selector] = (order, hides)

    def hides(self, tag: str, attributes: Mapping[str, str]) -> bool:
        """Tell whether the winning `display` rule for an element is `none`."""
        if not self._rules:
            return False
        classes, element_id = attributes.get("class", "").split(), attributes.get("id", "")
        keys = {f"#{element_id}", tag, *(f".{name}" for name in classes)}
        matching = [
            (selector.specificity, order, hides)
            for key in keys
            for selector, (order, hides) in self._rules.get(key, {}).items()
            if selector.matches(tag, element_id, classes)
        ]
        return bool(matching) and max(matching)[-1]


@dataclass(frozen=True, slots=True)
class _Selector:
    """A selector of one element; the key is the part of it that elements are looked up by."""

    tag: str
    id: str
    classes: tuple[str, ...]

    @property
    def specificity(self) -> tuple[bool, int, bool]:
        return bool(self.id), len(self.classes), bool(self.tag)

    @property
    def key(self) -> str:
        if self.id:
            return f"#{self.id}"
        return f".{self.classes[0]}" if self.classes else self.tag

    def matches(self, tag: str, element_id: str, classes: list[str]) -> bool:
        return (
            self.tag in ("", tag)
            and self.id in ("", element_id)
            and all(required in classes for required in self.classes)
        )


_SELECTOR = re.compile(r"([a-z][a-z0-9-]*)?((?:[.#][\w-]+)*)", re.IGNORECASE)


def _display_rules(stylesheets: Iterable[str]) -> Iterator[tuple[_Selector, bool]]:
    """Yield the selectors that set `display`, in order, with whether they hide."""
    for css in stylesheets:
        for selectors, body in _plain_rules(_without_comments(css)):
            display = declarations(body).get("display")
            if display is None:
                continue
            for selector in selectors.split(","):
                found = _SELECTOR.fullmatch(selector.strip())
                if found and found[0]:
                    names = re.findall(r"[.#][\w-]+", found[2])
                    ids = [name[1:] for name in names if name[0] == "#"]
                    classes = tuple(name[1:] for name in names if name[0] == ".")
                    yield _Selector((found[1] or "").lower(), ids[0] if ids else "", classes), display == "none"


def _plain_rules(css: str) -> Iterator[tuple[str, str]]:
    """Yield (selectors, declarations) of the rules that stand in no at-rule."""
    depth = 0
    for piece in css.split("}"):
        opened = piece.count("{")
        if depth == 0 and opened == 1:
            selectors, _, body = piece.partition("{")
            yield selectors.rpartition(";")[2], body
        depth = max(0, depth + opened - 1)


def _without_comments(css: str) -> str:
    """Drop comments; the rest of the text after one that is not closed."""
    head, *rest = css.split("/*")
    return head + "".join(piece.partition("*/")[2] for piece in rest)


def declarations(style: str) -> dict[str, str]:
    """Read `name: value; …`, in lower case and without `!important`; of equal names the last one counts."""
    found: dict[str, str] = {}
    for declaration in _without_comments(style[:_MOST_STYLE_CHARACTERS]).lower().split(";"):
        name, colon, value = declaration.partition(":")
        if colon:
            found[name.strip()] = value.partition("!")[0].strip()
    return found


def visibility_of(tag: str, attributes: Mapping[str, str], parent: Visibility, page: PageStyle) -> Visibility:
    """Judge an element within its parent."""
    if parent.is_gone:
        return parent
    style = declarations(attributes["style"]) if "style" in attributes else {}
    if _is_gone(tag, attributes, style, page):
        return replace(parent, is_gone=True)
    return _inherit(style, parent) if style else parent


def _is_gone(tag: str, attributes: Mapping[str, str], style: Mapping[str, str], page: PageStyle) -> bool:
    """Tell whether an element hides itself with everything in it."""
    if tag in _WHOLE_PAGE:
        return _is_off_screen(tag, style)
    if "hidden" in attributes or attributes.get("aria-hidden", "").strip().lower() == "true":
        return True
    if tag == "dialog" and "open" not in attributes:
        return True
    if style.get("display", "none" if page.hides(tag, attributes) else "") == "none":
        return True
    return bool(style) and (
        style.get("content-visibility") == "hidden" or _is_see_through(style) or _is_off_screen(tag, style)
    )


def _is_see_through(style: Mapping[str, str]) -> bool:
    """Tell whether opacity makes an element invisible."""
    length = _LENGTH.fullmatch(style.get("opacity", ""))
    if length is None:
        return False
    return float(length[1]) / (100 if length[2] == "%" else 1) < _UNREADABLE_OPACITY


def _is_off_screen(tag: str, style: Mapping[str, str]) -> bool:
    """Tell whether an element is moved out of sight, clipped away or squeezed to nothing."""
    sides = ["text-indent", "margin-left", "margin-top"]
    if style.get("position") in ("absolute", "fixed"):
        sides += ["left", "right", "top", "bottom"]
        if _EMPTY_CLIP.match(style.get("clip", "")):
            return True
    if any(_in_px(style.get(side, "")) <= -_FAR_AWAY_PX for side in sides):
        return True
    if _FAR_TRANSFORM.search(style.get("transform", "")) or _EMPTY_CLIP.match(style.get("clip-path", "")):
        return True
    is_cut = any(style.get(name) in ("hidden", "clip") for name in ("overflow", "overflow-x", "overflow-y"))
    return is_cut and any(name in style and abs(_in_px(style[name], 99)) <= 1 for name in _true_sizes(tag, style))


def _true_sizes(tag: str, style: Mapping[str, str]) -> Iterator[str]:
    """Yield the sizes that an element has where its style sets them: a table, or a flexible row, may make it wider."""
    yield from ("height", "max-height")
    grows = style.get("flex-grow") or style.get("flex", "").partition(" ")[0]
    is_flexible = grows == "auto" or (_GROWS.fullmatch(grows) is not None and float(grows) > 0)
    if not is_flexible:
        yield "width"
        if tag not in ("td", "th"):
            yield "max-width"


def _in_px(value: str, otherwise: float = 0.0) -> float:
    """Read a length as pixels of a usual screen; what is no plain length counts as given."""
    length = _LENGTH.fullmatch(value)
    return float(length[1]) * _PX_PER_UNIT[length[2] or ""] if length else otherwise


def _inherit(style: Mapping[str, str], parent: Visibility) -> Visibility:
    """Apply what children take over from their parents and may set anew."""
    concealed = parent.is_concealed
    if "visibility" in style:
        concealed = style["visibility"] in ("hidden", "collapse")
    tiny = parent.is_tiny
    if "font-size" in style or "font" in style:
        tiny = _is_tiny(style, parent)
    blended = parent.is_blended
    if not blended or {"color", "background", "background-color"} & style.keys():
        blended = _is_blended(style)
    return replace(parent, is_concealed=concealed, is_tiny=tiny, is_blended=blended)


def _is_tiny(style: Mapping[str, str], parent: Visibility) -> bool:
    """Tell whether text is too small to read; a share of nothing stays nothing."""
    if "font-size" not in style:
        return bool(_FONT_OF_NO_SIZE.search(style["font"] + " "))
    length = _LENGTH.fullmatch(style["font-size"])
    if length is None:
        return False
    size, unit = float(length[1]), length[2] or ""
    if unit in ("em", "%"):
        return parent.is_tiny or size / (100 if unit == "%" else 1) <= _UNREADABLE_SHARE
    return size * _PX_PER_UNIT[unit] <= _UNREADABLE_PX


def _is_blended(style: Mapping[str, str]) -> bool:
    """Tell whether the text colour is that of the background in the same style, or none at all."""
    colour = _colour(style.get("color", ""))
    if colour is None:
        return False
    if colour == "transparent":
        return "text" not in (style.get("background-clip"), style.get("-webkit-background-clip"))
    backgrounds = _COLOUR.findall(style.get("background-color", "") + " " + style.get("background", ""))
    return colour in map(_colour, backgrounds)


def _colour(value: str) -> str | None:
    """Write a colour as #rrggbb or `transparent`; None for what is neither name nor number known here."""
    if value in _NAMED_COLOURS or value == "transparent":
        return _NAMED_COLOURS.get(value, value)
    if re.fullmatch(r"#[0-9a-f]{3}", value):
        return "#" + "".join(2 * digit for digit in value[1:])
    if re.fullmatch(r"#[0-9a-f]{6}", value):
        return value
    numbers = re.findall(r"\d+(?:\.\d+)?%?", value[:100]) if value.startswith("rgb") else []
    if len(numbers) == len("rgba") and float(numbers[3].rstrip("%")) == 0:
        return "transparent"
    if len(numbers) < len("rgb") or any("%" in number for number in numbers[:3]):
        return None
    return "#" + "".join(f"{min(255, int(float(number))):02x}" for number in numbers[:3])
