"""A config is right as a whole, or refused with everything that is wrong with it.

Each `configs/invalid-*.toml` breaks one rule; its `#>` lines are the messages that must come, in order.
"""

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from freshd.config import TEMPLATE, Listen, Secrets, check_listen, load, load_secrets
from freshd.config.loading import MAX_FILE_BYTES
from freshd.config.values import parse_duration, parse_size
from freshd.errors import ConfigError
from freshd.model import Coverage

INVALID = sorted((Path(__file__).parent / "configs").glob("invalid-*.toml"))
SOURCE = '[[sources]]\nname = "handbook"\ntype = "files"\npath = "docs"\n'
SECRET = "c4nary-5ecret-value"


class FilesOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    path: str
    include: list[str] = []
    watch: bool = True
    headers: dict[str, str] = {}


class FilesConnector:
    coverage = Coverage.FULL
    Options = FilesOptions

    def write(self) -> None:
        """A canary could be written."""


def without_user(url: str) -> str:
    if "@" in url:
        raise ValueError("it must not name a user")
    return url


class TouchyOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    depth: Annotated[int, Field(le=9)]
    url: Annotated[str, AfterValidator(without_user)]


class TouchyConnector:
    Options = TouchyOptions


class IncompleteConnector:
    """Forgot its Options."""


@dataclass
class Entry:
    value: str
    connector: Any = None

    def load(self) -> Any:
        if self.connector is None:
            raise RuntimeError("no licence\nfound")
        return self.connector


def connector_types() -> dict[str, Entry]:
    return {
        "files": Entry("here:FilesConnector", FilesConnector),
        "touchy": Entry("here:TouchyConnector", TouchyConnector),
        "incomplete": Entry("incomplete:Connector", IncompleteConnector),
        "broken": Entry("broken:Connector"),
    }


def no_connector_types() -> dict[str, Entry]:
    raise AssertionError("nobody may ask for connectors here")


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str | bytes, name: str = "freshd.toml") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def refusal(path: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(path, connector_types)
    return caught.value


# ── what is refused, and in which words ──────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem.removeprefix("invalid-"))
def test_invalid_config_is_refused_with_every_fault_and_its_place(path: Path, monkeypatch):
    monkeypatch.chdir(path.parent)
    wanted = [line.removeprefix("#> ") for line in path.read_text().splitlines() if line.startswith("#> ")]
    error = refusal(Path(path.name))
    assert str(error).split("\n") == [f"{path.name}: {line}" for line in wanted]
    assert error.hint
    assert error.exit_code == 2


def test_there_is_an_invalid_config_for_each_rule():
    assert len(INVALID) > 60


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'name = "\xff"', "got a byte that is not UTF-8 at offset 8, expected UTF-8 text"),
        (b'name = "\0"', r"got no valid TOML: Illegal character '\x00' (at line 1, column 9)"),
        (b"a = " + b"[" * 50_000, "got arrays nested too deeply, expected a config"),
        (b"#" * (MAX_FILE_BYTES + 1), "got more than 1,048,576 bytes, expected a config"),
        (b"", "sources: got none, expected at least one [[sources]]"),
    ],
    ids=["not UTF-8", "NUL", "nested", "huge", "empty"],
)
def test_file_that_is_no_config_is_refused(content: bytes, message: str, write):
    path = write(content)
    assert str(refusal(path)) == f"{path}: {message}"


def test_number_of_thousands_of_digits_is_refused(write):
    assert "got no valid TOML: Exceeds the limit" in str(refusal(write(b"a = " + b"9" * 5_000)))


def test_absent_file_is_refused_with_the_command_that_writes_one(tmp_path: Path):
    error = refusal(tmp_path / "freshd.toml")
    assert str(error).endswith("freshd.toml: got no such file, expected a config")
    assert error.hint.startswith("freshd init")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["folder", "named pipe"])
@pytest.mark.timeout(10)
def test_what_is_not_a_file_is_refused_and_not_waited_for(make, tmp_path: Path):
    """A pipe without a writer would block a plain open for ever."""
    path = tmp_path / "freshd.toml"
    make(path)
    assert "freshd.toml: " in str(refusal(path))


def test_path_with_control_characters_is_escaped(tmp_path: Path):
    assert "a\\n\\x1b[31m.toml" in str(refusal(tmp_path / "a\n\x1b[31m.toml"))


def test_path_with_nul_is_refused():
    assert "cannot be read" in str(refusal(Path("a\0b")))


def test_long_value_is_shortened(write):
    error = refusal(write(SOURCE + f'objective = "{"x" * 10_000}"\n'))
    assert len(str(error)) < 400


VALUES = st.recursive(
    st.text() | st.integers() | st.floats() | st.booleans() | st.dates(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(st.sampled_from(["state_dir", "store", "http.listen", "sources", "source", "source.path", "whatever"]), VALUES)
def test_any_value_anywhere_loads_or_is_refused_in_printable_words(tmp_path_factory, place: str, value: object):
    """Whatever TOML can say: no other error comes out, and no line that a terminal could choke on."""
    source: Any = {"name": "handbook", "type": "files", "path": "docs"}
    table: dict[str, Any] = {"sources": [source]}
    match place.split("."):
        case ["source"]:
            table["sources"] = [value]
        case ["source", key]:
            source[key] = value
        case [section, key]:
            table[section] = {key: value}
        case [key]:
            table[key] = value
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    with pytest.MonkeyPatch.context() as patch:
        path.write_text("")
        patch.setattr(tomllib, "loads", lambda _: table)
        said = refused_in(path)
    assert all(line.isprintable() and len(line) < 2_000 for line in said.split("\n"))


def refused_in(path: Path) -> str:
    try:
        load(path, connector_types)
    except ConfigError as error:
        return str(error)
    return ""


# ── what loads ───────────────────────────────────────────────────────────────────────────────────


def test_smallest_config_has_every_default(write):
    path = write(SOURCE)
    config = load(path, connector_types)
    assert config.base == path.parent.resolve()
    assert config.state_dir == path.parent.resolve() / ".freshd"
    assert (config.store.url, config.store.collection) == (None, "knowledge")
    assert config.embedding.model == "bundled"
    assert (config.http.listen, config.http.allowed_hosts) == (Listen("127.0.0.1", 8377), ())
    assert config.history.keep_for == timedelta(days=90)
    assert (config.guard.documents, config.guard.share) == (20, 0.2)
    assert (config.log.format, config.log.level) == ("auto", "info")
    assert config.cache.max_bytes == 2**30
    assert config.disk.reserve_bytes == 256 * 2**20
    (source,) = config.sources
    assert (source.name, source.type) == ("handbook", "files")
    assert (source.freshness_target, source.objective) == (timedelta(minutes=5), 0.99)
    assert source.objective_window == timedelta(days=28)
    assert (source.poll_interval, source.canary_path, source.keep_for) == (None, None, None)
    assert source.connector is FilesConnector
    assert source.options == FilesOptions(path="docs")
    assert source.raw == {"path": "docs"}


KEYS = {
    "state_dir": ["elsewhere", "/var/lib/freshd"],
    "store.url": ["http://localhost:6333", "https://qdrant.example.org/prefix", "http://[::1]:6333"],
    "store.collection": ["a", "Team_A.2024-b"],
    "embedding.model": ["BAAI/bge-small-en-v1.5", "models/mine"],
    "http.listen": ["127.0.0.1:0", "[::1]:8377", "localhost:1", "0.0.0.0:65535", "freshd.example.org:80"],
    "http.allowed_hosts": [[], ["Freshd.Example.org", "10.0.0.1", "::1", "my_host"]],
    "history.keep_for": ["28d", "3650d"],
    "guard.documents": [0, 1_000],
    "guard.share": [0, 0.5, 1],
    "log.format": ["console", "json"],
    "log.level": ["debug", "error"],
    "cache.max_bytes": [1, "1GB", "512 MiB"],
    "disk.reserve_bytes": [0, "1KiB"],
    "compare.report": ["freshd-compare/report.json"],
    "source.freshness_target": ["500ms", "1h30m", "1d2h3m4s5ms"],
    "source.objective": [0.5, 0.999],
    "source.objective_window": ["7d"],
    "source.poll_interval": ["30s"],
    "source.canary_path": ["canary/freshd.md"],
    "source.watch": [True, False],
    "source.include": [["**/*.md"]],
}


def toml(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else str(value)


@given(st.fixed_dictionaries({}, optional={key: st.sampled_from(values) for key, values in KEYS.items()}))
def test_any_subset_of_valid_keys_loads(tmp_path_factory, chosen: dict[str, object]):
    tables: dict[str, list[str]] = {}
    for key, value in chosen.items():
        table, _, name = key.rpartition(".")
        tables.setdefault(table, []).append(f"{name} = {toml(value)}\n")
    text = "".join(tables.pop("", [])) + SOURCE + "".join(tables.pop("source", []))
    text += "".join(f"[{table}]\n{''.join(lines)}" for table, lines in tables.items())
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text)
    config = load(path, connector_types)
    for key in chosen:
        section, _, name = key.rpartition(".")
        owner = config.sources[0] if section == "source" else getattr(config, section) if section else config
        assert name in owner.raw if name in {"watch", "include"} else name in owner.model_fields_set


@pytest.mark.parametrize("prefix", ["\N{ZERO WIDTH NO-BREAK SPACE}", "\r\n"], ids=["byte-order mark", "CRLF"])
def test_config_of_a_windows_editor_loads(prefix: str, write):
    assert load(write(prefix + SOURCE.replace("\n", "\r\n")), connector_types).sources


def test_state_directory_lies_beside_the_config_wherever_it_is_named_from(write, monkeypatch, tmp_path: Path):
    write(SOURCE)
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    assert load(Path("../freshd.toml"), connector_types).state_dir == tmp_path.resolve() / ".freshd"


def test_home_directory_is_known(write, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    config = load(write('state_dir = "~/freshd"\n' + SOURCE), connector_types)
    assert config.state_dir == Path("/home/somebody/freshd")


def test_config_cannot_be_changed_after_it_was_checked(write):
    config = load(write(SOURCE), connector_types)
    with pytest.raises(ValidationError):
        config.guard.documents = 10_000
    with pytest.raises(ValidationError):
        config.sources[0].name = "other"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("1m", 60), ("2h", 7_200), ("1d", 86_400), ("28d", 2_419_200), ("1h30m", 5_400)],
)
def test_duration_is_what_its_units_say(text: str, seconds: float):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("0", 0), ("7B", 7), ("1kB", 1_000), ("1KB", 1_000), ("1KiB", 1_024), ("50MiB", 52_428_800), ("1GB", 10**9)],
)
def test_size_is_what_its_unit_says(text: str, n_bytes: int):
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize(
    ("source", "key"),
    [
        (SOURCE, "max_file_bytes"),
        ('[[sources]]\nname = "n"\ntype = "feed"\nurl = "https://a.example/"\n', "max_feed_bytes"),
    ],
    ids=["files", "feed"],
)
def test_sizes_of_sources_are_written_like_all_others(write, source: str, key: str):
    for text in ("7MiB", "7 Mi"):
        (read,) = load(write(f'{source}{key} = "{text}"\n')).sources
        assert getattr(read.options, key) == 7 * 2**20
    # Of some of these pydantic would take what they begin with.
    for wrong in ('"many"', '"7 parsecs"', '"50,000,000"', '"50 MiB or so"', "true", "5.5"):
        expected = f'{key}: got {wrong}, expected a size in bytes such as 1048576, "50MiB"'
        with pytest.raises(ConfigError, match=re.escape(expected)) as refused:
            load(write(f"{source}{key} = {wrong}\n"))
        assert len(str(refused.value).splitlines()) == 1


# ── connectors ───────────────────────────────────────────────────────────────────────────────────


def test_only_connectors_in_use_are_imported(write):
    types = connector_types() | {"broken": Entry("broken:Connector")}
    assert load(write(SOURCE), lambda: types).sources[0].options


def test_config_without_connectors_asks_for_none_and_keeps_the_keys_unjudged(write):
    """`freshd status` looks at no source, so it must not wait for feedparser and trafilatura."""
    (source,) = load(write(SOURCE + "anything = 1\n"), no_connector_types, connectors=False).sources
    assert (source.connector, source.options) == (None, None)
    assert source.raw == {"path": "docs", "anything": 1}


def test_connector_of_another_distribution_is_found_and_checks_its_own_keys(tmp_path: Path, monkeypatch, write):
    """The entry-point group is the whole of what a third party has to know."""
    metadata = tmp_path / "freshd_tickets-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: freshd-tickets\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[freshd.connectors]\ntickets = freshd_tickets:Tickets\n")
    (tmp_path / "freshd_tickets.py").write_text(
        "from pydantic import BaseModel\n"
        "class Options(BaseModel, extra='forbid'):\n    queue: str\n"
        "class Tickets:\n    Options = Options\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "freshd_tickets", raising=False)
    table = '[[sources]]\nname = "t"\ntype = "tickets"\n'
    (source,) = load(write(table + 'queue = "open"\n')).sources
    assert source.options.queue == "open"
    with pytest.raises(ConfigError, match=r'sources\[0\]\.queu: unknown key, did you mean "queue"\?'):
        load(write(table + 'queue = "open"\nqueu = "open"\n'))


def test_importing_the_config_loads_no_connector_and_no_heavy_library():
    heavy = "connectors.files connectors.feed numpy httpx feedparser trafilatura watchdog pydantic_settings"
    program = f"import sys, freshd.config; print([m for m in {heavy.split()!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ── the template of `freshd init` ────────────────────────────────────────────────────────────────


def uncommented(text: str) -> str:
    return re.sub(r"(?m)^# (?=\w+ = |\[\[)", "", text)


@pytest.mark.parametrize("form", [str, uncommented])
def test_template_loads_as_it_is_and_with_every_key_uncommented(form, write):
    load(write(form(TEMPLATE)), connectors=False)


def test_template_shows_every_section_with_its_true_defaults(write):
    """Who uncomments a line of it changes nothing: a comment that lies would be worse than none."""
    shown = load(write(uncommented(TEMPLATE)), connectors=False)
    bare = load(write(SOURCE), connectors=False)
    for section in ("embedding", "history", "guard", "log", "cache", "disk"):
        assert getattr(shown, section) == getattr(bare, section)
        assert getattr(shown, section).model_fields_set == set(type(getattr(shown, section)).model_fields)
    assert (shown.http.listen, shown.store.collection) == (bare.http.listen, bare.store.collection)


def test_template_suits_the_files_connector(write):
    from connectors.files import FilesConnector as RealFilesConnector

    config = load(write(TEMPLATE), lambda: {"files": Entry("connectors.files", RealFilesConnector)})
    assert config.sources[0].options.path == "."


# ── secrets and the address they guard ───────────────────────────────────────────────────────────


def test_secrets_come_from_the_environment_or_from_files_it_names(tmp_path: Path):
    file = tmp_path / "key"
    file.write_text(f"{SECRET}\n")
    secrets = load_secrets({"FRESHD_TOKEN": "t" * 16, "FRESHD_QDRANT_API_KEY_FILE": str(file)})
    assert secrets.values() == ("t" * 16, SECRET)


@pytest.mark.parametrize("environment", [{}, {"FRESHD_TOKEN": "", "FRESHD_QDRANT_API_KEY_FILE": ""}])
def test_absent_and_empty_secrets_are_none(environment: dict[str, str]):
    assert load_secrets(environment) == Secrets(token=None, qdrant_api_key=None)


def test_secrets_are_read_from_the_process_when_nothing_else_is_given(monkeypatch):
    monkeypatch.setenv("FRESHD_TOKEN", SECRET)
    assert SECRET in load_secrets().values()


def test_secret_is_in_no_text_of_its_holder():
    secrets = load_secrets({"FRESHD_TOKEN": SECRET, "FRESHD_QDRANT_API_KEY": SECRET})
    for text in (repr(secrets), str(secrets), f"{secrets}", secrets.model_dump_json(), str(secrets.model_dump())):
        assert SECRET not in text


def test_credentials_in_a_source_are_in_no_text_of_the_config(write):
    text = f'{SOURCE}headers = {{ Authorization = "{SECRET}" }}\n'
    config = load(write(text), connector_types)
    assert config.sources[0].options.headers == {"Authorization": SECRET}
    assert SECRET not in repr(config) + str(config)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"FRESHD_TOKEN": "hunter2"}, "FRESHD_TOKEN: got 7 characters, expected at least 16"),
        ({"FRESHD_READ_TOKEN": "hunter2"}, "FRESHD_READ_TOKEN: got 7 characters, expected at least 16"),
        ({"FRESHD_TOKEN": SECRET, "FRESHD_READ_TOKEN": SECRET}, "FRESHD_READ_TOKEN: got the value of FRESHD_TOKEN"),
        ({"FRESHD_TOKEN": SECRET, "FRESHD_TOKEN_FILE": "x"}, "got both, expected one of them"),
        ({"FRESHD_TOKEN": f"{SECRET}\r\nX-Evil: 1"}, "expected ASCII without spaces"),
        ({"FRESHD_QDRANT_API_KEY": f"{SECRET}é"}, "expected ASCII without spaces"),
        ({"FRESHD_TOKEN_FILE": "absent\n"}, r"FRESHD_TOKEN_FILE: absent\n cannot be read: No such file or directory"),
        ({"FRESHD_TOKEN_FILE": "."}, "FRESHD_TOKEN_FILE: . cannot be read: Is a directory"),
        ({"FRESHD_TOKEN_FILE": "/dev/null"}, "FRESHD_TOKEN_FILE: /dev/null holds no bytes, expected a secret"),
        ({"FRESHD_TOKEN_FILE": "/dev/zero"}, "FRESHD_TOKEN_FILE: /dev/zero holds 4097 bytes, expected a secret"),
    ],
)
def test_unusable_secret_is_refused_without_being_shown(
    environment: dict[str, str], message: str, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_secrets(environment)
    assert message in str(caught.value)
    assert SECRET not in str(caught.value) + caught.value.hint
    assert caught.value.hint


@pytest.mark.parametrize("listen", ["0.0.0.0:8377", "[::]:8377", "192.168.1.2:0", "freshd.example.org:80"])
def test_address_that_others_reach_needs_a_token(listen: str, write):
    config = load(write(f'{SOURCE}[http]\nlisten = "{listen}"\n'), connector_types)
    with pytest.raises(ConfigError, match=r"http\.listen: got .* without a token") as caught:
        check_listen(config, Secrets())
    assert "FRESHD_TOKEN" in caught.value.hint
    check_listen(config, load_secrets({"FRESHD_TOKEN": SECRET}))


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.9.9.9:1", "[::1]:8377", "localhost:8377"])
def test_loopback_address_needs_no_token(listen: str, write):
    config = load(write(f'{SOURCE}[http]\nlisten = "{listen}"\n'), connector_types)
    check_listen(config, Secrets())
    assert str(config.http.listen) == listen


def test_invalid_files_are_invalid_for_their_rule_only():
    """A broken table elsewhere would hide the rule; all but those about TOML itself are TOML."""
    for path in INVALID:
        if "invalid-toml" not in path.name:
            tomllib.loads(path.read_text())
