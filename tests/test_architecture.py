"""The shape that `freshd/DESIGN.md` promises: floors, pure steps, small modules, light imports."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(path for package in ("freshd", "connectors") for path in (ROOT / package).rglob("*.py"))

MAX_MODULE_LINES = 400
LISTS = {"freshd/model.py": 600}
"""The nouns are a list, read by name rather than from top to bottom: one place, mostly prose."""
MAX_FUNCTION_LINES = 60

PURE = ("model", "changes", "chunker", "delta", "freshness", "guard", "payload", "redaction", "wording")
IMPURE_CALLS = frozenset({
    *("open", "input", "print", "getenv", "getcwd", "gethostname"),
    *("now", "utcnow", "today", "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "sleep"),
    *("urandom", "uuid1", "uuid4", "token_bytes", "token_hex"),
})  # fmt: skip
"""Named without their module, so that an alias or a clock that was handed in shows as well."""

HEAVY = (
    "numpy",
    "fastembed",
    "onnxruntime",
    "qdrant_client",
    "qdrant_edge",
    "httpx",
    "lxml",
    "trafilatura",
    "feedparser",
)
LIGHT = ("model", "errors", "ports", "config")


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def room(name: str) -> list[Path]:
    """Find the module of a room, or all modules of one that grew into a folder."""
    module = ROOT / "freshd" / f"{name}.py"
    return [module] if module.exists() else sorted((ROOT / "freshd" / name).rglob("*.py"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def impurities(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in IMPURE_CALLS:
                yield f"line {node.lineno}: {name}()"
        elif isinstance(node, ast.Attribute) and node.attr == "environ":
            yield f"line {node.lineno}: environ"


def test_every_import_goes_down_a_floor():
    """The contracts stand in pyproject.toml; a new room without a floor breaks them too."""
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-logo",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("name", PURE)
def test_a_pure_step_reads_no_clock_and_touches_no_file(name):
    """Import contracts cannot see `datetime.now()` or the builtin `open()`."""
    files = room(name)
    assert files
    for path in files:
        assert list(impurities(ast.parse(path.read_text()))) == [], relative(path)


@pytest.mark.parametrize("code", ["datetime.now(UTC)", "open('x')", "clock.monotonic()", "os.environ['HOME']"])
def test_an_impurity_would_be_seen(code):
    assert list(impurities(ast.parse(code)))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_fits_in_a_head(path):
    """Larger modules become folders, larger functions become several."""
    text = path.read_text()
    lines = len(text.splitlines())
    assert lines <= LISTS.get(relative(path), MAX_MODULE_LINES)
    sizes = {f.name: f.end_lineno - f.lineno + 1 for f in functions(ast.parse(text))}
    assert {name: size for name, size in sizes.items() if size > MAX_FUNCTION_LINES} == {}


@pytest.mark.parametrize("name", LIGHT)
def test_a_contract_loads_no_heavy_library(name):
    """`freshd --help` and a config error must not wait for a model runtime."""
    code = f"import sys, freshd.{name}; print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == ""
