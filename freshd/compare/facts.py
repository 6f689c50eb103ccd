"""The facts of a comparison: read from a file, proposed from two versions, or those of the handbook shipped here.

facts.jsonl ──▶ drafts ─┐
two folders ─propose────┴─▶ checked against both versions ─▶ completed ─▶ Fact …
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from freshd.compare.drafts import Draft, Fault, facts_of, faults_in, with_distractors
from freshd.compare.proposals import proposals
from freshd.compare.records import Fact, FactKind
from freshd.compare.trees import read_trees
from freshd.errors import ConfigError
from freshd.redaction import printable

_MAX_FILE_BYTES: Final = 16 << 20
_MAX_SHOWN_CHARACTERS: Final = 60

_TEXTS: Final = ("question", "prefix", "old", "document")
_KEYS: Final = (*_TEXTS, "new", "kind", "distractors", "development", "paraphrases")
_REQUIRED: Final = (*_TEXTS, "new")

_FORM: Final = (
    '{"question": "How long is the notice period?", "prefix": "The notice period is", '
    '"old": "30 days", "new": "45 days", "document": "contracts.md"}'
)


@dataclass(frozen=True, slots=True)
class Handbook:
    """The documents that ship with freshd, of an organisation that does not exist, and what is asked about them."""

    old_tree: Path
    new_tree: Path
    facts_file: Path
    facts: tuple[Fact, ...]


def handbook() -> Handbook:
    """Give the two versions of the shipped handbook and its facts."""
    folder = Path(str(files("freshd"))) / "compare" / "handbook"
    old, new, facts = folder / "old", folder / "new", folder / "facts.jsonl"
    return Handbook(old, new, facts, load_facts(facts, old, new))


def load_facts(path: Path, old_tree: Path, new_tree: Path) -> tuple[Fact, ...]:
    """Read facts from JSON Lines and hold them against both versions.

    Args:
        path: One object a line: `question`, `prefix`, `old`, `new` (null: vanished) and `document`;
            `kind`, `distractors` and `development` where they are not to be derived;
            `paraphrases`, pairs of another question and the beginning of its answer, to train by.
            Empty lines are left out.
        old_tree: Folder with the documents before the change.
        new_tree: Folder with the documents after it.

    Raises:
        ConfigError: The file cannot be read or anything in it is wrong; one line for each fault.
        SourceUnavailable: One of the folders is not there.

    """
    lines = [(number, line) for number, line in enumerate(_read(path).split("\n"), 1) if line.strip()]
    drafts: list[Draft] = []
    faults: list[Fault] = []
    for number, line in lines:
        draft, wrong = _draft(number, line)
        faults += [Fault(number, message) for message in wrong]
        drafts += [draft] if draft else []
    trees = read_trees(old_tree, new_tree, {draft.document for draft in drafts})
    old, new = trees.old, trees.new
    faults += faults_in(drafts, old, new)
    wrong_lines = {fault.line for fault in faults}
    ready, underivable = with_distractors([one for one in drafts if one.line not in wrong_lines], old, new)
    _refuse(path, [*faults, *underivable])
    facts = facts_of(ready)
    _refuse_unchanged(printable(str(path)), facts)
    return facts


def propose(old_tree: Path, new_tree: Path, most: int = 40) -> tuple[Fact, ...]:
    """Propose facts by rule from sentences with numbers, dates or names; to be shown to a person before use.

    A changed fact comes from a sentence in which exactly one value differs, an unchanged one from one that is the same,
    a vanished one from a document that is gone.
    Their questions quote the sentence with a gap where no better one follows from it,
    so the right passage is found more easily than by what a person would ask.

    Args:
        old_tree: Folder with the documents before the change.
        new_tree: Folder with the documents after it.
        most: Of each kind; a quarter of that of vanished ones.

    Returns:
        Changed ones first, by document and place in it; the same for the same folders.

    Raises:
        ConfigError: No changed sentence could be made a fact of.
        SourceUnavailable: One of the folders is not there.

    """
    trees = read_trees(old_tree, new_tree)
    old, new = trees.old, trees.new
    found = [replace(draft, line=number) for number, draft in enumerate(proposals(old, new), 1)]
    # Some will turn out to be no facts, but to look at all of a large corpus would take minutes.
    drafts = _bounded(found, 4 * most)
    wrong = {fault.line for fault in faults_in(drafts, old, new)}
    ready, _ = with_distractors([draft for draft in drafts if draft.line not in wrong], old, new)
    facts = facts_of(_bounded(ready, most))
    _refuse_unchanged(f"{printable(str(old_tree))} and {printable(str(new_tree))}", facts)
    return facts


def _bounded(drafts: Sequence[Draft], most: int) -> list[Draft]:
    """Keep at most so many of each kind, by hash, so that they come from everywhere; the order stays."""
    kept: set[str] = set()
    for kind in FactKind:
        bound = most // 4 if kind is FactKind.VANISHED else most
        kept.update(sorted(draft.fact_id for draft in drafts if draft.kind is kind)[:bound])
    return [draft for draft in drafts if draft.fact_id in kept]


def _refuse_unchanged(where: str, facts: Iterable[Fact]) -> None:
    if not any(fact.kind is FactKind.CHANGED and not fact.is_development for fact in facts):
        raise ConfigError(
            f"{where}: corpus without changed facts: got none to judge by, expected at least one whose old and new"
            " value differ and that is not for development",
            hint=f"compare versions between which a number, date or name changed, or name facts, --facts FILE: {_FORM}",
        )


def _read(path: Path) -> str:
    where = printable(str(path))
    try:
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise ConfigError(
                f"{where}: got more than {_MAX_FILE_BYTES:,} bytes, expected facts", hint="name another file"
            )
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: got no UTF-8 at offset {error.start:,}", hint="save it as UTF-8") from error
    except OSError as error:
        hint = f"name a file of lines such as {_FORM}"
        raise ConfigError(f"{where}: cannot be read: {error.strerror}", hint=hint) from error


def _refuse(path: Path, faults: Iterable[Fault]) -> None:
    """Raise for all faults at once."""
    where = printable(str(path))
    lines = [f"{where}:{fault.line}: {fault.message}" for fault in sorted(faults, key=lambda fault: fault.line)]
    if lines:
        raise ConfigError("\n".join(lines), hint=f"mend {where}; a line looks like this: {_FORM}")


def _draft(number: int, line: str) -> tuple[Draft | None, list[str]]:
    """Read one line; None and what is wrong if its shape is."""
    try:
        table = json.loads(line)
    except (ValueError, RecursionError):
        return None, ["got no valid JSON, expected one object on the line"]
    if not isinstance(table, dict):
        return None, ["got no object, expected one"]
    faults = [*_key_faults(table), *_type_faults(table)]
    if faults:
        return None, faults
    given = table.get("distractors")
    draft = Draft(
        line=number,
        question=table["question"].strip(),
        prefix=table["prefix"].strip(),
        old=table["old"].strip(),
        new=table["new"] if table["new"] is None else table["new"].strip(),
        document=table["document"],
        distractors=None if given is None else tuple(text.strip() for text in given),
        is_development=table.get("development"),
        paraphrases=tuple((one[0].strip(), one[1].strip()) for one in table.get("paraphrases", ())),
    )
    kind = table.get("kind", draft.kind)
    return draft, [] if kind == draft.kind else [f'kind: got {_shown(kind)}, expected "{draft.kind}" by old and new']


def _key_faults(table: Mapping[str, Any]) -> Iterator[str]:
    for key in table.keys() - set(_KEYS):
        near = get_close_matches(key[:_MAX_SHOWN_CHARACTERS], _KEYS, n=1)
        meant = f'did you mean "{near[0]}"?' if near else f"expected one of {', '.join(_KEYS)}"
        yield f"{_shown(key)}: unknown key, {meant}"
    yield from (f"{key}: got none, expected a value" for key in _REQUIRED if key not in table)


def _type_faults(table: Mapping[str, Any]) -> Iterator[str]:
    for key in (*_TEXTS, "new"):
        if key in table and not _is_text(table[key]) and not (key == "new" and table[key] is None):
            yield f"{key}: got {_shown(table[key])}, expected text{', or null' if key == 'new' else ''}"
    given = table.get("distractors")
    if given is not None and not (isinstance(given, list) and all(map(_is_text, given))):
        yield f"distractors: got {_shown(given)}, expected an array of texts"
    given = table.get("paraphrases", [])
    if not (isinstance(given, list) and all(map(_is_pair, given))):
        yield f"paraphrases: got {_shown(given)}, expected an array of pairs: a question, and how its answer begins"
    if not isinstance(table.get("development", False), bool):
        yield f"development: got {_shown(table['development'])}, expected true or false"


def _is_text(value: object) -> bool:
    """Whether it is a text that can be printed; JSON can write halves of characters."""
    return isinstance(value, str) and bool(value.strip()) and not any("\ud800" <= one <= "\udfff" for one in value)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_text, value))


def _shown(value: object) -> str:
    return printable(json.dumps(value, ensure_ascii=False)[:_MAX_SHOWN_CHARACTERS])
