"""Each route passes on what it was asked, and answers in the words of the outside contract."""

import threading
import time

import prometheus_client
import pytest

from freshd.errors import CollectionMismatch, EmbedderUnavailable, StoreUnavailable
from freshd.http import reading, schemas
from freshd.logs import Event
from freshd.search import MAX_HITS
from tests.http.daemon import Endpoint, eventually


def test_health_follows_the_heartbeat(endpoint: Endpoint):
    assert endpoint.get("/healthz").json() == {"status": "pass"}
    endpoint.daemon.alive = False
    answer = endpoint.get("/healthz")
    assert answer.status_code == 503
    assert answer.json()["try"]


def test_what_is_not_ready_says_why(endpoint: Endpoint):
    assert endpoint.get("/readyz").json() == {"status": "pass"}
    endpoint.daemon.reason = "source 'handbook' was not listed yet"
    answer = endpoint.get("/readyz")
    assert (answer.status_code, answer.json()["error"]) == (503, endpoint.daemon.reason)


def test_status_is_what_the_daemon_says(endpoint: Endpoint):
    assert endpoint.get("/status").json() == endpoint.daemon.status()


def test_metrics_are_text_that_prometheus_knows(endpoint: Endpoint):
    answer = endpoint.get("/metrics")
    assert answer.content == endpoint.daemon.metrics()
    assert answer.headers["content-type"] == reading.METRICS_TYPE == prometheus_client.CONTENT_TYPE_PLAIN_0_0_4


@pytest.mark.parametrize("route", ["/healthz", "/readyz", "/status", "/metrics", "/search?q=x", "/openapi.json"])
def test_a_head_is_that_of_the_body(endpoint: Endpoint, route: str):
    whole, head = endpoint.get(route), endpoint.client.head(route)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers["content-length"] == str(len(whole.content))


@pytest.mark.parametrize("route", ["/reindex", "/wait"])
def test_an_order_cannot_be_read(endpoint: Endpoint, route: str):
    for answer in (endpoint.get(route), endpoint.client.head(route)):
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("q=leave", ("leave", 10, (), None)),
        ("q=leave&k=1", ("leave", 1, (), None)),
        ("q=leave&k=100", ("leave", 100, (), None)),
        ("q=leave&source=handbook", ("leave", 10, ("handbook",), None)),
        ("q=leave&source=handbook&source=news", ("leave", 10, ("handbook", "news"), None)),
        ("q=leave&path=a/b%20c", ("leave", 10, (), "a/b c")),
        ("q=Stra%C3%9Fe%0A", ("Straße\n", 10, (), None)),
        ("q=%ff%fe", ("\ufffd\ufffd", 10, (), None)),
        ("q=" + "a" * 8_192, ("a" * 8_192, 10, (), None)),
    ],
)
def test_a_search_is_passed_on_as_asked(endpoint: Endpoint, query: str, asked: tuple):
    answer = endpoint.get(f"/search?{query}")
    assert answer.json() == {"query": asked[0], "watermark": None, "hits": []}
    assert endpoint.daemon.asked == [asked]


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("", "q: field required"),
        ("q=", "q: "),
        ("q=%20%0a", "q: "),
        ("q=a%00b", "NUL"),
        ("q=" + "a" * 8_193, "8192 bytes"),
        ("q=" + "%C3%A4" * 4_097, "8192 bytes"),
        ("q=a&k=0", "k: got"),
        ("q=a&k=101", "k: got"),
        ("q=a&k=-1", "k: got"),
        ("q=a&k=1000000000", "k: got"),
        ("q=a&k=" + "9" * 5_000, "k: got"),
        ("q=a&k=1.5", "k: got"),
        ("q=a&k=NaN", "k: got"),
        ("q=a&k=", "k: got"),
        ("q=a&source=", "source.0: "),
        ("q=a&source=a%00", "NUL"),
        ("q=a&source=" + "a" * 65, "source.0: "),
        ("q=a" + "&source=a" * 1_001, "source: "),
        ("q=a&path=%00", "NUL"),
        ("q=a&path=" + "a" * 4_097, "path: "),
        ("q=a&source=nobody", "nobody"),
    ],
)
def test_a_search_that_cannot_be_meant_is_refused_at_once(endpoint: Endpoint, query: str, says: str):
    began = time.monotonic()
    answer = endpoint.get(f"/search?{query}")
    assert answer.status_code == 422
    assert says in answer.json()["error"]
    assert len(answer.content) < 1_000
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"garbage", "body: expected JSON"), ({"documents": []}, 'documents: got "a list", expected at least 1 of them')],
    ids=["no JSON", "no document"],
)
def test_an_order_that_says_nothing_is_told_what_is_lacking(endpoint: Endpoint, body: object, says: str):
    answer = endpoint.post("/forget", body)
    assert answer.status_code == 422
    assert answer.json()["error"] == says


@pytest.mark.parametrize(("verdict", "approve"), [("approve", True), ("reject", False)])
def test_a_verdict_on_held_deletions_is_passed_on(endpoint: Endpoint, verdict: str, approve: bool):
    assert endpoint.get("/deletions?source=news").json()["documents"] == ["old.md"]
    assert endpoint.post("/deletions", {"source": "news", "verdict": verdict}).status_code == 200
    assert endpoint.daemon.asked == [("deletions", "news", None), ("deletions", "news", approve)]


def test_who_names_an_unknown_source_is_told_the_known_ones(endpoint: Endpoint):
    answers = [
        endpoint.get("/search?q=a&source=nobody"),
        endpoint.post("/reindex", {"sources": ["handbook", "nobody"]}),
        endpoint.post("/wait", {"documents": ["nobody/leave.md"]}),
        endpoint.get("/deletions?source=nobody"),
        endpoint.post("/deletions", {"source": "nobody", "verdict": "approve"}),
    ]
    assert [answer.status_code for answer in answers] == [422] * 5
    assert {answer.json()["try"] for answer in answers} == {"sources here: handbook, news"}


@pytest.mark.parametrize(
    ("error", "status", "is_temporary"),
    [
        (StoreUnavailable("store: no answer within 30 s", hint="see its log"), 503, True),
        (EmbedderUnavailable("model: gone"), 503, True),
        (CollectionMismatch("collection: is gone", hint="restore it"), 503, False),
    ],
)
def test_what_the_store_cannot_do_is_said(endpoint: Endpoint, error: Exception, status: int, is_temporary: bool):
    def fail() -> None:
        raise error

    endpoint.daemon.before_search = fail
    answer = endpoint.get("/search?q=leave")
    assert answer.status_code == status
    hint = error.hint or ("ask again in a moment" if is_temporary else None)
    assert answer.json() == {"error": str(error), "try": hint}
    assert ("retry-after" in answer.headers) == is_temporary


@pytest.mark.parametrize("error", [RuntimeError("secret"), UnicodeError("secret"), KeyError("secret"), StopIteration()])
def test_a_fault_of_ours_tells_the_log_everything_and_the_client_nothing(endpoint: Endpoint, told, error: Exception):
    def fail() -> None:
        raise error

    endpoint.daemon.before_search = fail
    answer = endpoint.get("/search?q=private")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    (event,) = told()
    assert (event["event"], event["path"]) == (Event.REQUEST_FAILED, "/search")
    assert type(error).__name__ in event["exception"]
    assert "private" not in str(event)
    endpoint.daemon.before_search = lambda: None
    assert endpoint.get("/search?q=leave").status_code == 200


@pytest.mark.parametrize(
    ("route", "body", "asked"),
    [
        ("/reindex", {}, ("reindex", (), False)),
        ("/reindex", {"sources": ["news"], "full": True}, ("reindex", ("news",), True)),
        ("/wait", {}, ("wait", (), 60.0)),
        (
            "/wait",
            {"documents": ["handbook/a/b.md"], "timeout_seconds": 5},
            ("wait", (("handbook", "a/b.md"),), 5.0),
        ),
    ],
)
def test_an_order_begins_a_job_that_can_be_asked_for(endpoint: Endpoint, route: str, body: object, asked: tuple):
    answer = endpoint.post(route, body)
    assert answer.status_code == 202
    assert endpoint.daemon.asked == [asked]
    report = endpoint.get(answer.headers["location"]).json()
    assert answer.json() == {"job": report["job"]}
    assert report["state"] == "running"


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/deletions", {"source": "news"}),
        ("/deletions", {"source": "news", "verdict": "perhaps"}),
        ("/deletions", {"verdict": "approve"}),
        ("/reindex", {"sources": "news"}),
        ("/reindex", {"sources": [1]}),
        ("/reindex", {"sources": [None]}),
        ("/reindex", {"sources": ["a\0"]}),
        ("/reindex", {"sources": ["news"] * 1_001}),
        ("/reindex", {"full": "yes"}),
        ("/reindex", {"full": 1}),
        ("/reindex", {"ful": True}),
        ("/reindex", []),
        ("/reindex", "news"),
        ("/reindex", b"null"),
        ("/reindex", b""),
        ("/reindex", b"{"),
        ("/wait", {"documents": ["handbook"]}),
        ("/wait", {"documents": ["/a"]}),
        ("/wait", {"documents": ["handbook/"]}),
        ("/wait", {"documents": ["handbook/a\0"]}),
        ("/wait", b'{"documents": ["handbook/\\ud800"]}'),
        ("/wait", {"documents": {"handbook": "a"}}),
        ("/wait", {"timeout_seconds": "60"}),
        ("/wait", {"timeout_seconds": -1}),
        ("/wait", {"timeout_seconds": 1e9}),
        ("/wait", b'{"timeout_seconds": NaN}'),
        ("/wait", b'{"timeout_seconds": 1e999}'),
        ("/wait?wait=601", {}),
        ("/wait?wait=-1", {}),
        ("/wait?wait=nan", {}),
        ("/wait?wait=inf", {}),
        ("/wait?wait=soon", {}),
    ],
)
def test_an_order_that_cannot_be_meant_is_refused(endpoint: Endpoint, route: str, body: object):
    answer = endpoint.post(route, body)
    assert answer.status_code == 422
    assert set(answer.json()) == {"error", "try"}
    assert endpoint.daemon.asked == []


@pytest.mark.parametrize("state", ["done", "failed"])
def test_a_held_order_answers_as_soon_as_its_job_ends(endpoint: Endpoint, state: str):
    """Ends the job from another thread once the endpoint has looked and found it running."""

    def end() -> None:
        assert eventually(lambda: endpoint.daemon.polls > 1)
        endpoint.daemon.states = dict.fromkeys(endpoint.daemon.states, state)

    ending = threading.Thread(target=end)
    ending.start()
    answer = endpoint.post("/reindex?wait=60")
    ending.join()
    assert (answer.status_code, answer.json()["state"]) == (200, state)
    assert answer.elapsed.total_seconds() < 50


def test_an_order_held_for_long_enough_says_that_its_job_runs(endpoint: Endpoint):
    answer = endpoint.post("/wait?wait=0.2")
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    assert answer.headers["location"] == "/jobs/wait%2F1"
    assert 0.2 <= answer.elapsed.total_seconds() < 30


@pytest.mark.parametrize("job", ["nobody", "%00", "a" * 128, "..%2f..%2fetc", "%ff", "{job}"])
def test_a_job_that_never_was_is_not_found(endpoint: Endpoint, job: str):
    answer = endpoint.get(f"/jobs/{job}")
    assert answer.status_code == 404
    assert set(answer.json()) == {"error", "try"}


def test_the_description_names_every_route_and_every_field_of_every_answer(endpoint: Endpoint):
    described = endpoint.get("/openapi.json").json()
    routes = {f"{method} {path}" for path, operations in described["paths"].items() for method in operations}
    reads = {"get /healthz", "get /readyz", "get /status", "get /metrics", "get /search", "get /jobs/{job}"}
    reads |= {"get /", "get /changes", "get /deletions"}
    orders = {"post /reindex", "post /wait", "post /verify", "post /backup", "post /forget", "post /prune"}
    assert routes == reads | orders | {"post /deletions"}
    shapes = described["components"]["schemas"]
    reports = {"StatusReport", "JobReport", "ReindexReport", "WaitReport", "VerifyReport", "ChangesAnswer"}
    reports |= {"BackupReport", "ForgetReport", "PruneReport"}
    assert reports | {"SourceStatus", "SearchHit", "ChangeEntry"} <= set(shapes)
    assert shapes["SourceStatus"]["properties"]["lag_seconds"] == {"$ref": "#/components/schemas/Percentiles"}
    assert set(shapes["Problem"]["properties"]) == {"error", "try"}


def test_search_and_endpoint_agree_on_how_many_hits_there_may_be():
    assert schemas.MAX_HITS == MAX_HITS
