"""Talk reaches the operator whole, one event a line, without secrets, and never breaks the work."""

import io
import json
import logging
import re
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from freshd import logs
from freshd.config import load
from freshd.daemon.backlog import Backlog
from freshd.daemon.reporter import Reporter
from freshd.logs import MAX_WAITING_LINES, Event, RepeatLimit
from freshd.logs import talk as talk_room
from freshd.metrics import Facts, Metrics
from freshd.model import Change, ChangeKind, DocumentId, Outcome, OutcomeKind, Pending, SourceName
from freshd.redaction import is_secret_key, printable, without_url_secrets
from freshd.report import stored_status
from tests.kit.clock import HandClock

SECRET = 'c4nary "5ecret" \\ÜÑ/?#x'


@pytest.fixture(autouse=True)
def _logging_is_put_back(monkeypatch):
    root = logging.getLogger()
    level, disabled = root.level, logging.getLogger("uvicorn.access").disabled
    monkeypatch.setattr(talk_room, "_hidden", talk_room._Hidden())
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    for handler in [one for one in root.handlers if isinstance(one, talk_room._FromLibraries)]:
        root.removeHandler(handler)
    root.setLevel(level)
    logging.getLogger("uvicorn.access").disabled = disabled


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def talk(format: str = "json", level: str = "debug", stream: io.StringIO | None = None, **options) -> io.StringIO:
    stream = stream or io.StringIO()
    logs.configure(format, level, stream, **options)
    return stream


def events(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


# ── form ─────────────────────────────────────────────────────────────────────────────────────────


def test_event_is_one_json_line_with_its_facts_its_level_and_a_utc_instant():
    stream = talk()
    logs.get_logger().info(Event.SOURCE_SCANNED, source="handbook", documents=3, at=datetime(2026, 1, 2, tzinfo=UTC))
    (event,) = events(stream)
    instant = event.pop("timestamp")
    assert datetime.fromisoformat(str(instant)).utcoffset().total_seconds() == 0
    at = "2026-01-02T00:00:00+00:00"
    assert event == {"level": "info", "event": "source_scanned", "source": "handbook", "documents": 3, "at": at}


def test_auto_is_a_coloured_console_on_a_terminal_and_json_elsewhere(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    terminal = talk("auto", stream=Terminal())
    logs.get_logger().info(Event.DAEMON_STARTED)
    assert "\x1b[" in terminal.getvalue()
    assert "daemon_started" in terminal.getvalue()
    pipe = talk("auto")
    logs.get_logger().info(Event.DAEMON_STARTED)
    assert events(pipe)[0]["event"] == "daemon_started"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_on_which_nobody_wants_colours_gets_none(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    terminal = talk("auto", stream=Terminal())
    logs.get_logger().info(Event.DAEMON_STARTED)
    assert "daemon_started" in terminal.getvalue()
    assert "\x1b" not in terminal.getvalue()


def test_console_on_a_pipe_has_no_colours():
    stream = talk("console")
    logs.get_logger().warning(Event.STORE_LOST, store="embedded")
    assert "\x1b" not in stream.getvalue()
    assert "store_lost" in stream.getvalue()


def test_level_leaves_out_what_is_below_it():
    stream = talk(level="warning")
    logs.get_logger().info(Event.DAEMON_STARTED)
    logs.get_logger().warning(Event.CLOCK_JUMPED)
    assert [event["event"] for event in events(stream)] == ["clock_jumped"]


def test_context_bound_once_is_in_every_event_of_it():
    stream = talk()
    with structlog.contextvars.bound_contextvars(source="handbook", scan_id=7):
        logs.get_logger().info(Event.SOURCE_SCANNED)
    logs.get_logger().info(Event.DAEMON_STOPPED)
    assert [event.get("scan_id") for event in events(stream)] == [7, None]


def test_logger_made_before_the_configuration_follows_it():
    """Rooms make their logger when they are imported, before anybody has read the config."""
    early = logs.get_logger()
    talk()
    stream = talk()
    early.info(Event.DAEMON_STARTED)
    assert len(events(stream)) == 1


def test_event_names_are_a_noun_and_a_verb_in_the_past():
    for event in Event:
        assert re.fullmatch(r"[a-z]+_(lost|held|forgotten|[a-z]+ed)", event)
        assert event.name.lower() == event


def test_exception_is_one_event_with_its_traceback():
    stream = talk()
    try:
        raise ValueError("no such feed")
    except ValueError:
        logs.get_logger().exception(Event.SOURCE_FAILED, source="news")
    (event,) = events(stream)
    assert "Traceback" in str(event["exception"])
    assert str(event["exception"]).endswith("ValueError: no such feed")


def test_value_that_json_does_not_know_is_shown_as_text():
    stream = talk()
    loop: list[object] = []
    loop.append(loop)
    logs.get_logger().info(Event.DOCUMENT_FAILED, error=OSError(5, "bad"), keys={1: {2}, (3, 4): b"x"}, loop=loop)
    (event,) = events(stream)
    assert event["error"] == "OSError: [Errno 5] bad"
    assert event["keys"] == {"1": "{2}", "(3, 4)": "b'x'"}


# ── injection ────────────────────────────────────────────────────────────────────────────────────

HOSTILE = "a.md\n2026-01-01T00:00:00Z [info] deletions_approved\r\x1b[2J\x9b31m\u202egpj\u2028\udcff"


@pytest.mark.parametrize("format", ["console", "json"])
def test_hostile_name_stays_on_its_own_line_and_moves_no_cursor(format: str):
    """A file may be called anything; who reads the log on a terminal must not be at its mercy."""
    stream = talk(format)
    logs.get_logger().info(Event.DOCUMENT_INDEXED, document_id=HOSTILE, names=[HOSTILE], by={HOSTILE: HOSTILE})
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().rstrip("\n").isprintable()
    assert "a.md" in stream.getvalue()


def test_hostile_exception_forges_no_line_on_the_console():
    stream = talk("console")
    try:
        raise ValueError(HOSTILE)
    except ValueError as error:
        logs.get_logger().exception(Event.DOCUMENT_FAILED, error=error)
    first, *others = stream.getvalue().rstrip("\n").split("\n")
    assert "document_failed" in first
    assert others
    assert all(line.startswith("    ") and line.isprintable() for line in others)


@given(st.text())
def test_printable_text_is_printable_and_what_was_printable_stays(text: str):
    assert printable(text).replace("\u200d", "").isprintable(), "but for what joins an emoji"
    assert printable(printable(text)) == printable(text)
    if text.isprintable():
        assert printable(text) == text


@given(st.text(), st.sampled_from(["ascii", "latin-1", "utf-8"]))
def test_any_text_can_be_said_in_any_encoding(text: str, encoding: str):
    """A service without a locale writes ASCII; a name in Greek must not cost the line."""
    raw = io.BytesIO()
    logs.configure("console", "info", io.TextIOWrapper(raw, encoding=encoding, write_through=True))
    logs.get_logger().info(Event.DOCUMENT_INDEXED, document_id=text)
    assert raw.getvalue().count(b"\n") == 1


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("format", ["console", "json"])
def test_registered_secret_is_in_no_line_however_it_came_there(format: str):
    logs.hide(SECRET)
    stream = talk(format)
    log = logs.get_logger()
    log.info(Event.CONFIG_RELOADED, value=SECRET, nested={"a": [SECRET]}, **{SECRET: 1})
    log.info(f"said {SECRET}", error=ValueError(SECRET), shown=repr(SECRET), parts=(SECRET, b"x"))
    try:
        raise RuntimeError(f"key {SECRET} was refused")
    except RuntimeError:
        log.exception(Event.STORE_LOST)
    logging.getLogger("httpx").warning("GET with %s", SECRET)
    assert "c4nary" not in stream.getvalue()
    assert "5ecret" not in stream.getvalue()
    assert stream.getvalue().count("***") >= 8


def test_secret_that_begins_with_another_leaves_nothing_behind():
    logs.hide("hunter")
    logs.hide("hunter2-and-more")
    stream = talk()
    logs.get_logger().info(Event.CONFIG_RELOADED, value="hunter2-and-more")
    assert events(stream)[0]["value"] == "***"


def test_value_under_a_secret_key_is_masked_at_any_depth():
    stream = talk()
    headers = {"Authorization": "Bearer a", "X-Api-Key": "b", "Cookie": "c", "Accept": "text/html"}
    logs.get_logger().info(Event.SOURCE_FAILED, headers=[headers], token="d", password="e", max_tokens=256)
    (event,) = events(stream)
    masked = {"Authorization": "***", "X-Api-Key": "***", "Cookie": "***", "Accept": "text/html"}
    assert event["headers"] == [masked]
    assert (event["token"], event["password"], event["max_tokens"]) == ("***", "***", 256)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:pass@example.org/feed", "https://***@example.org/feed"),
        ("https://me:p@ss@example.org/feed", "https://***@example.org/feed"),
        ("https://token@example.org", "https://***@example.org"),
        ("https://example.org/@me/feed?page=2", "https://example.org/@me/feed?page=2"),
        ("https://example.org/?page=2&api_key=abc#x", "https://example.org/?page=2&api_key=***#x"),
        ("GET https://a.org/?X-Amz-Signature=abc&b=1 failed", "GET https://a.org/?X-Amz-Signature=***&b=1 failed"),
        (
            "https://a.org/?access_token=abc, then http://u@b.org",
            "https://a.org/?access_token=*** then http://***@b.org",
        ),
        ("https://a.org/?page=2?token=abc", "https://a.org/?page=2?token=***"),
        ("https://a.org/?token?x=a", "https://a.org/?token?x=***"),
        ("https://a.org/?secret?x?y=a&b=1", "https://a.org/?secret?x?y=***&b=1"),
        ("https://a.org/??token=a?b;sig=c", "https://a.org/??token=***;sig=***"),
        (f"https://a.org/?{'x' * 300}_token=abc", f"https://a.org/?{'x' * 300}_token=***"),
        ("someone@example.org asked for token=abc", "someone@example.org asked for token=abc"),
    ],
)
def test_url_is_shown_without_its_secrets(text: str, shown: str):
    assert without_url_secrets(text) == shown
    stream = talk()
    logs.get_logger().info(Event.SOURCE_FAILED, url=text)
    assert events(stream)[0]["url"] == shown


@pytest.mark.parametrize("piece", ["?key", "?token", "&key=", "?", "://@", "://x", "sig"])
def test_a_long_value_costs_no_more_than_its_length(piece: str):
    """A document id is in the hands of whoever writes the source; this one would once have taken hours."""
    text = piece * 30_000
    assert without_url_secrets(text).startswith(piece[:3])


@pytest.mark.parametrize("key", ["token", "FRESHD_TOKEN", "Authorization", "Set-Cookie", "api_key", "qdrant-api-key"])
def test_key_of_a_secret_is_known(key: str):
    assert is_secret_key(key)


@pytest.mark.parametrize("key", ["max_tokens", "token_file", "tokenizer", "key", "document_id", ""])
def test_key_of_something_else_is_not_taken_for_a_secret(key: str):
    assert not is_secret_key(key)


# ── libraries ────────────────────────────────────────────────────────────────────────────────────


def test_libraries_are_heard_from_warning_up_as_events():
    stream = talk()
    logging.getLogger("apscheduler").info("job added")
    logging.getLogger("watchdog").warning("queue of %d is full", 3)
    logging.getLogger("odd").log(logging.ERROR + 5, "own level")
    heard = [(event["level"], event["event"], event["logger"], event["message"]) for event in events(stream)]
    assert heard == [
        ("warning", "library_logged", "watchdog", "queue of 3 is full"),
        ("error", "library_logged", "odd", "own level"),
    ]


def test_library_whose_arguments_do_not_fit_its_format_is_heard_all_the_same(monkeypatch):
    stream = talk()
    ours = [handler for handler in logging.getLogger().handlers if isinstance(handler, talk_room._FromLibraries)]
    monkeypatch.setattr(logging.getLogger(), "handlers", ours)  # pytest's own handler would raise
    logging.getLogger("careless").error("%d of %d", "one")
    assert events(stream)[0]["message"] == "%d of %d"


def test_each_line_of_a_library_comes_once_however_often_logs_are_configured():
    talk()
    stream = talk()
    logging.getLogger("httpx").warning("slow")
    assert len(events(stream)) == 1


def test_requests_to_the_endpoint_are_not_logged():
    stream = talk()
    logging.getLogger("uvicorn.access").error("GET /metrics")
    assert stream.getvalue() == ""


# ── repetition ───────────────────────────────────────────────────────────────────────────────────


class Time:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_first_of_a_kind_pass_and_the_next_period_tells_how_many_did_not():
    time = Time()
    limit = RepeatLimit(2, 60.0, time)
    assert [limit.admit("a") for _ in range(5)] == [0, 0, None, None, None]
    assert limit.admit("b") == 0
    time.now_s += 59.9
    assert limit.admit("a") is None
    time.now_s += 0.1
    assert [limit.admit("a") for _ in range(3)] == [4, 0, None]
    time.now_s += 3_600
    assert limit.admit("a") == 1


def test_kinds_remembered_are_bounded():
    limit = RepeatLimit(1, 60.0, Time(), max_kinds=10)
    for kind in range(1_000):
        assert limit.admit(kind) == 0
    assert limit.admit(999) is None
    assert limit.admit(0) == 0


def test_thousand_errors_of_one_source_are_a_few_lines_and_a_count():
    time = Time()
    stream = talk(monotonic=time)
    for _ in range(1_000):
        logs.get_logger().error(Event.DOCUMENT_FAILED, source="handbook")
    logs.get_logger().error(Event.DOCUMENT_FAILED, source="news")
    assert len(events(stream)) == logs.MAX_REPEATS_PER_MINUTE + 1
    time.now_s += 60
    logs.get_logger().error(Event.DOCUMENT_FAILED, source="handbook")
    assert events(stream)[-1]["repeated"] == 1_000 - logs.MAX_REPEATS_PER_MINUTE


def test_each_of_a_thousand_failures_is_counted_although_a_few_are_logged(tmp_path):
    config, clock, source = tmp_path / "freshd.toml", HandClock(), SourceName("handbook")
    config.write_text('[[sources]]\nname = "handbook"\ntype = "files"\npath = "."\n')
    facts = Facts(stored_status(load(config)), clock.now(), True, 2**30, 2**28)
    metrics = Metrics([source], lambda: facts)
    stream = talk(monotonic=Time())
    reporter = Reporter(metrics, Backlog(clock), lambda *_: False)
    for n in range(1_000):
        change = Change(source, DocumentId(f"{n}.md"), ChangeKind.MODIFIED, None, clock.now(), clock.now())
        reporter.finished(Outcome(change, OutcomeKind.FAILED, error="no text"), Pending(n, change, None))
    assert len(events(stream)) == logs.MAX_REPEATS_PER_MINUTE
    assert b'freshd_document_failures_total{source="handbook"} 1000.0' in metrics.text().splitlines()


def test_good_news_is_never_suppressed():
    stream = talk(monotonic=Time())
    for _ in range(100):
        logs.get_logger().info(Event.DOCUMENT_INDEXED, source="handbook")
    assert len(events(stream)) == 100


# ── a stream that fails ──────────────────────────────────────────────────────────────────────────


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_stream_that_fails_or_is_closed_costs_the_line_and_nothing_else():
    talk(stream=FullDisk())
    logs.get_logger().error(Event.STORE_LOST)
    stream = talk()
    stream.close()
    logs.get_logger().error(Event.STORE_LOST)
    talk(format="auto", stream=stream)


def test_program_whose_stderr_reader_went_away_ends_well():
    """`freshd run 2>&1 | head -1` must neither raise nor turn exit code 0 into another one."""
    program = (
        "from freshd import logs\n"
        "logs.configure('json', 'info')\n"
        "for n in range(1_000):\n    logs.get_logger().info(logs.Event.DOCUMENT_INDEXED, n=n, filler='x' * 1_000)\n"
        "print('done')\n"
    )
    running = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    running.stderr.close()
    assert running.stdout.read() == b"done\n"
    running.stdout.close()
    assert running.wait(timeout=20) == 0


class Stalled(io.StringIO):
    """A stream whose reader does not read until it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = threading.Event()

    def write(self, text: str) -> int:
        assert self.reads.wait(100)
        return super().write(text)


@pytest.fixture
def stalled(monkeypatch) -> Stalled:
    monkeypatch.setattr(talk_room, "_waiting", None)
    return Stalled()


def test_reader_that_stalls_holds_up_nobody_and_learns_how_much_it_missed(stalled: Stalled):
    """Lines wait, up to a bound; what comes beyond it is counted on the first line that gets through."""
    talk(stream=stalled, never_waits=True)
    began_s = time.monotonic()
    for n in range(MAX_WAITING_LINES + 500):
        logs.get_logger().info(Event.DOCUMENT_INDEXED, n=n)
    assert time.monotonic() - began_s < 60
    stalled.reads.set()
    logs.finish(60)
    logs.get_logger().info(Event.DAEMON_STOPPED)
    told = events(stalled)
    assert [one["n"] for one in told[:-1]] == list(range(len(told) - 1))
    assert MAX_WAITING_LINES <= len(told) - 1 <= MAX_WAITING_LINES + 1
    assert told[-1]["lost_lines"] == MAX_WAITING_LINES + 500 - (len(told) - 1)
    assert not any("lost_lines" in one for one in told[:-1])


def test_what_was_said_last_is_written_before_the_end_and_in_order(stalled: Stalled):
    """Also when the config is read again in between, and when something is said after the end."""
    stalled.reads.set()
    for n in range(100):
        talk(stream=stalled, never_waits=True)
        logs.get_logger().info(Event.DOCUMENT_INDEXED, n=n)
    logs.finish()
    logs.get_logger().info(Event.DOCUMENT_INDEXED, n=100)
    assert [one["n"] for one in events(stalled)] == list(range(101))


def test_end_does_not_wait_for_a_reader_that_never_comes_back(stalled: Stalled):
    talk(stream=stalled, never_waits=True)
    logs.get_logger().info(Event.DAEMON_STOPPED)
    began_s = time.monotonic()
    logs.finish(0.1)
    logs.get_logger().info(Event.DAEMON_STOPPED)
    assert time.monotonic() - began_s < 60
    stalled.reads.set()


def test_logs_load_no_heavy_library():
    program = (
        "import sys, freshd.logs; print([m for m in ('pydantic', 'numpy', 'httpx', 'uvicorn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
