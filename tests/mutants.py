"""Says what became of the mutants of a run of mutmut (`make mutants`), file by file.

    killed / counted   a test failed, or did not come to an end; counted are all but the equal ones
    equal              survivors in which only the case of SQL's words and names is another, which SQL does not mind

What stands between quotes in SQL is text, whose case matters, as does that of a message: such a survivor counts.
"""

import ast
import json
import re
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from difflib import ndiff
from functools import cache
from pathlib import Path

_KILLED = {1, 3, 24, 36, 152, 255, -24}
"""mutmut's codes for a test that failed, pytest that broke, and tests that did not come to an end."""

_MARK = " # type: ignore # mutmut generated"
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_TEXT = re.compile(r"'[^']*'")
_SQL = re.compile(r"\b(ALTER|AND|BEGIN|CREATE|DELETE|DROP|FROM|INSERT|OR|ORDER BY|PRAGMA|SELECT|SET|UPDATE|WHERE)\b")
_NAME = re.compile(r"[A-Za-z_]+")


@cache
def functions(path: Path) -> dict[str, list[str]]:
    """Give the lines of every function of a mutated module."""
    text = path.read_text()
    lines = text.replace(_MARK, "").split("\n")
    found = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))
    return {node.name: lines[node.lineno - 1 : node.end_lineno] for node in found}


def difference(path: Path, mutant: str) -> list[str]:
    """Give the lines in which a mutant is not what it was made of, with `-` or `+` before each."""
    name = mutant.rpartition(".")[2]
    original = re.sub(r"__mutmut_\d+$", "__mutmut_orig", name)
    before, after = ([line.replace(one, "") for line in functions(path)[one]] for one in (original, name))
    return [line for line in ndiff(before, after) if line[0] in "-+"]


def is_equal(changed: list[str]) -> bool:
    """Tell whether only the case of SQL is another, and that of none of its texts."""
    if len(changed) != 2 or changed[0][1:].lower() != changed[1][1:].lower():
        return False
    pairs = zip(*(_STRING.findall(line) for line in changed), strict=True)
    return all(before == after or _is_same_to_sql(before, after) for before, after in pairs)


def _is_same_to_sql(before: str, after: str) -> bool:
    is_sql = _NAME.fullmatch(before) or _SQL.search(before)
    return bool(is_sql) and _TEXT.findall(before) == _TEXT.findall(after)


def told(folder: Path, named: Collection[str]) -> Iterator[str]:
    """Give a line for each module, one for all, and the survivors of the modules that are named."""
    total = Counter[str]()
    for meta in sorted(folder.rglob("*.meta")):
        path, counts, survivors = meta.with_suffix(""), Counter[str](), []
        for mutant, code in json.loads(meta.read_text())["exit_code_by_key"].items():
            if code is None:  # not tried
                continue
            changed = difference(path, mutant)
            what = "killed" if code in _KILLED else "equal" if is_equal(changed) else "survived"
            counts[what] += 1
            survivors += [(mutant, changed)] if what == "survived" else []
        total += counts
        yield _line(path.stem, counts)
        if path.stem in named:
            for mutant, changed in survivors:
                yield "\n      ".join((f"    {mutant}", *changed))
    yield _line("all", total)


def _line(name: str, counts: Counter[str]) -> str:
    counted = counts["killed"] + counts["survived"]
    share = counts["killed"] / counted if counted else 1
    return f"{name:14} {counts['killed']:5} / {counted:5}  {share:6.1%}   equal {counts['equal']}"


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in told(Path("mutants/freshd"), sys.argv[1:]))
