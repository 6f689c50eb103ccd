"""Who may ask what: the endpoint is safe from other machines, from web pages, and from names that are not its own."""

import base64

import pytest

from freshd.config import HttpSection, Listen
from freshd.errors import StateUnusable
from freshd.http.gate import Gate
from freshd.http.gatekeeper import HEADERS, MAX_BODY_BYTES
from tests.http.daemon import AUTH, JSON, TOKEN, Endpoint, serving

READS = ("/", "/?fragment=true", "/status", "/metrics", "/search?q=leave", "/jobs/1", "/openapi.json", "/nowhere")
ORDERS = ("/reindex", "/wait", "/deletions")
PROBES = ("/healthz", "/readyz")
GOOD = {**AUTH, **JSON}


def login(user: bytes, password: bytes = TOKEN.encode(), scheme: str = "Basic") -> dict[str, str]:
    return {"Authorization": f"{scheme} {base64.b64encode(user + b':' + password).decode()}"}


@pytest.fixture(scope="module")
def outside():
    """Listens for other machines as well, as far as its rules go."""
    with serving(HttpSection(listen=Listen("0.0.0.0", 0), allowed_hosts=("kb.example.org", "192.0.2.7"))) as endpoint:
        yield endpoint


def is_problem(answer) -> bool:
    body = answer.json()
    return set(body) == {"error", "try"} and "\n" not in body["error"] and bool(body["error"])


@pytest.mark.parametrize("route", [*READS, *ORDERS])
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8377",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.2",
        "0.0.0.0",
        "[::]",
        "[::2]:80",
        "localhost@evil.example",
        "localhost:80:80",
        "user@localhost",
        "",
        "::1",
    ],
)
def test_a_name_that_is_not_ours_is_told_nothing(endpoint: Endpoint, route: str, host: str):
    """A page may point its own name at this machine; the browser then sends that name."""
    answer = endpoint.client.request("POST" if route in ORDERS else "GET", route, headers={**GOOD, "Host": host})
    assert answer.status_code == 421
    assert is_problem(answer)
    assert endpoint.daemon.asked == []


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1", "localhost.", "127.0.0.1:8377", "[::1]", "[::1]:9", "[0:0:0:0:0:0:0:1]"]
)
def test_loopback_names_are_ours_whatever_the_port(endpoint: Endpoint, host: str):
    assert endpoint.get("/status", Host=host).status_code == 200


@pytest.mark.parametrize("host", ["kb.example.org", "KB.example.org:443", "kb.example.org.", "192.0.2.7:8377"])
def test_a_configured_name_is_ours(outside: Endpoint, host: str):
    assert outside.get("/status", Host=host, **AUTH).status_code == 200


def test_the_address_listened_on_is_ours():
    gate = Gate(HttpSection(listen=Listen("192.0.2.9", 8377)), TOKEN)
    head = [(b"host", b"192.0.2.9:8377"), (b"authorization", f"Bearer {TOKEN}".encode())]
    assert gate.refusal("GET", "/status", head) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "0.0.0.0:8377", "[::]"])
def test_a_wildcard_listened_on_is_no_name(outside: Endpoint, host: str):
    """Browsers once took 0.0.0.0 for this machine, and let any page ask it."""
    assert outside.get("/status", Host=host, **AUTH).status_code == 421


def test_two_host_headers_are_none():
    gate = Gate(HttpSection(), TOKEN)
    refusal = gate.refusal("GET", "/status", [(b"host", b"localhost"), (b"host", b"localhost")])
    assert refusal is not None
    assert refusal.status == 421


@pytest.mark.parametrize("route", PROBES)
def test_probes_answer_to_any_name_without_a_token(outside: Endpoint, route: str):
    """An orchestrator asks by the address of the day."""
    assert outside.get(route, Host="10.1.2.3:8377").status_code == 200


REASON = "collection 'knowledge' at https://index.example.org:6333: no answer"
WRONG = {"Authorization": "Bearer wrong-token-of-the-daemon-under"}


@pytest.mark.parametrize("reason", [REASON, StateUnusable("ledger /srv/freshd/ledger.db: got a disk I/O error")])
@pytest.mark.parametrize(
    ("is_off_loopback", "headers", "is_told"),
    [
        (False, {"Host": "localhost"}, True),
        (False, {"Host": "evil.example"}, False),
        (False, {"Host": "evil.example", **AUTH}, False),
        (True, {"Host": "kb.example.org", **AUTH}, True),
        (True, {"Host": "kb.example.org", **login(b"")}, True),
        (True, {"Host": "kb.example.org"}, False),
        (True, {"Host": "kb.example.org", **WRONG}, False),
        (True, {"Host": "10.1.2.3:8377", **AUTH}, False),
        (True, {"Host": "10.1.2.3:8377"}, False),
    ],
)
def test_a_probe_tells_why_only_to_who_may_read_the_rest(
    endpoint: Endpoint, outside: Endpoint, is_off_loopback: bool, headers: dict[str, str], is_told: bool, reason
):
    """A reason names the store's address, folders and sources."""
    asked = outside if is_off_loopback else endpoint
    asked.daemon.reason = reason
    answer = asked.get("/readyz", **headers)
    asked.daemon.reset()
    assert answer.status_code == 503
    assert is_problem(answer)
    assert (str(reason) in answer.text) is is_told
    assert any(word in answer.text for word in ("example.org", "/srv", "ledger", "collection")) is is_told


@pytest.mark.parametrize("route", ORDERS)
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer wrong-token-of-the-daemon-under",
        f"Bearer {TOKEN}x".encode(),
        f"Bearer {TOKEN[:-1]}".encode(),
        f"Basic {TOKEN}".encode(),
        TOKEN.encode(),
        "Bearer t0kén-ÿ".encode("latin-1"),
        b"Bearer \xff\xfe\x80",
    ],
)
def test_an_order_without_the_token_is_refused(endpoint: Endpoint, route: str, authorization: bytes | None):
    headers = [(b"Content-Type", b"application/json")]
    headers += [(b"Authorization", authorization)] if authorization is not None else []
    answer = endpoint.client.post(route, content=b"{}", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert is_problem(answer)
    assert endpoint.daemon.asked == []


def test_a_token_given_twice_is_none():
    gate = Gate(HttpSection(), TOKEN)
    token = (b"authorization", f"Bearer {TOKEN}".encode())
    refusal = gate.refusal(
        "POST", "/wait", [(b"host", b"localhost"), (b"content-type", b"application/json"), token, token]
    )
    assert refusal is not None
    assert refusal.status == 401


@pytest.mark.parametrize("token", ["", "short"])
def test_a_gate_does_not_stand_on_a_token_that_can_be_guessed(token: str):
    with pytest.raises(ValueError, match="16 characters"):
        Gate(HttpSection(), token)
    if token:
        with pytest.raises(ValueError, match="16 characters"):
            Gate(HttpSection(), TOKEN, token)


def test_every_order_that_the_description_knows_wants_the_token(endpoint: Endpoint):
    """Also those that were added since this was written."""
    paths = endpoint.get("/openapi.json").json()["paths"]
    orders = [(method, path) for path, methods in paths.items() for method in methods if method != "get"]
    assert len(orders) >= len(ORDERS)
    for method, path in orders:
        answer = endpoint.client.request(method.upper(), path, content=b"{}", headers=JSON)
        assert answer.status_code == 401, path
    assert endpoint.daemon.asked == []


READ_TOKEN = "t0ken-that-will-do-for-reading"
OFF_LOOPBACK = HttpSection(listen=Listen("0.0.0.0", 0), allowed_hosts=("kb.example.org",))
HOST_AND_KIND = [(b"host", b"kb.example.org"), (b"content-type", b"application/json")]


@pytest.mark.parametrize("how", ["bearer", "basic"])
def test_a_token_for_reading_reads_and_orders_nothing(how: str):
    """Prometheus and a search page need no more."""
    gate = Gate(OFF_LOOPBACK, TOKEN, READ_TOKEN)
    packed = base64.b64encode(f"anybody:{READ_TOKEN}".encode()) if how == "basic" else READ_TOKEN.encode()
    login = (b"authorization", how.encode() + b" " + packed)
    assert [gate.refusal("GET", route, [*HOST_AND_KIND, login]) for route in READS] == [None] * len(READS)
    for route in ORDERS:
        refusal = gate.refusal("POST", route, [*HOST_AND_KIND, login])
        assert refusal is not None
        assert refusal.status == 401
    assert gate.refusal("POST", "/reindex", [*HOST_AND_KIND, (b"authorization", f"Bearer {TOKEN}".encode())]) is None


@pytest.mark.parametrize("token", ["", "t0ken-that-will-do-for-readin", "t0ken-that-will-do-for-reading ", TOKEN[:-1]])
def test_nothing_near_a_token_reads(token: str):
    gate = Gate(OFF_LOOPBACK, TOKEN, READ_TOKEN)
    for said in (f"Bearer x{token}", f"Digest {READ_TOKEN}", READ_TOKEN, f"Bearer {token}\xff"):
        refusal = gate.refusal("GET", "/status", [*HOST_AND_KIND, (b"authorization", said.encode("latin-1"))])
        assert refusal is not None
        assert refusal.status == 401


def test_where_there_is_no_token_for_reading_none_reads_but_the_one():
    gate = Gate(OFF_LOOPBACK, TOKEN)
    refusal = gate.refusal("GET", "/status", [*HOST_AND_KIND, (b"authorization", b"Bearer ")])
    assert refusal is not None
    assert gate.refusal("GET", "/status", [*HOST_AND_KIND, (b"authorization", f"Bearer {TOKEN}".encode())]) is None


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_no_other_method_gets_by_without_the_token(endpoint: Endpoint, method: str):
    assert endpoint.client.request(method, "/status").status_code == 401
    assert endpoint.client.request(method, "/status", headers=GOOD).status_code == 405


@pytest.mark.parametrize("route", READS)
def test_reading_needs_the_token_off_loopback_only(endpoint: Endpoint, outside: Endpoint, route: str):
    assert outside.get(route).status_code == 401
    assert outside.get(route, **AUTH).status_code == endpoint.get(route).status_code != 401


@pytest.mark.parametrize("route", READS)
@pytest.mark.parametrize("user", [b"", b"anybody", "jürgen".encode(), b"\xff\x00"], ids=["none", "a", "utf8", "bytes"])
def test_a_browser_may_read_with_the_token_as_password(endpoint: Endpoint, outside: Endpoint, route: str, user: bytes):
    """It asks its person for a name and a password, and can send nothing else with a page."""
    answer = outside.get(route, **login(user))
    assert answer.status_code == endpoint.get(route).status_code
    assert outside.get(route, **login(user, scheme="bAsIc")).status_code == answer.status_code != 401


def test_a_browser_is_told_that_it_may_ask_for_a_password_and_others_that_a_bearer_will_do(outside: Endpoint):
    refused = outside.get("/")
    assert refused.status_code == 401
    assert refused.headers.get_list("www-authenticate") == [
        'Basic realm="freshd", charset="UTF-8", Bearer realm="freshd"'
    ]
    assert "password" in refused.json()["try"]


@pytest.mark.parametrize(
    "authorization",
    [
        login(b"a", TOKEN[:-1].encode())["Authorization"].encode(),
        login(b"a", TOKEN.encode() + b"x")["Authorization"].encode(),
        login(b"a", TOKEN.encode() + b":")["Authorization"].encode(),
        login(TOKEN.encode(), b"")["Authorization"].encode(),
        login(b"a", scheme="Bearer")["Authorization"].encode(),
        login(b"a", scheme="Digest")["Authorization"].encode(),
        b"Basic",
        b"Basic :",
        b"Basic \xff\xfe",
        b"Basic a:" + TOKEN.encode(),
        b"Basic " + TOKEN.encode(),
        b"Basic " + base64.b64encode(TOKEN.encode()),
        b"Basic " + base64.b64encode(b"a:" + TOKEN.encode())[:-1],
        b"Basic ==" + base64.b64encode(b"a:" + TOKEN.encode()),
        b"Basic " + b"A" * 40_000,
    ],
    ids=range(15),
)
def test_a_login_without_the_token_as_its_password_is_refused(outside: Endpoint, authorization: bytes):
    answer = outside.client.get("/status", headers=[(b"Authorization", authorization)])
    assert answer.status_code == 401
    assert is_problem(answer)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_a_login_orders_nothing(endpoint: Endpoint, outside: Endpoint, method: str):
    """A browser sends it by itself, whatever page made it ask."""
    outside.daemon.reset()
    for place in (endpoint, outside):
        answer = place.client.request(method, "/reindex", content=b"{}", headers={**login(b"a"), **JSON})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == 'Bearer realm="freshd"'
    assert endpoint.daemon.asked == outside.daemon.asked == []


def test_a_token_may_hold_colons():
    token = "a-token:with:colons-in-it"
    head = [(b"host", b"192.0.2.9"), (b"authorization", login(b"a", token.encode())["Authorization"].encode())]
    assert Gate(HttpSection(listen=Listen("192.0.2.9", 8377)), token).refusal("GET", "/", head) is None


def test_a_login_given_twice_is_none():
    gate = Gate(HttpSection(listen=Listen("192.0.2.9", 8377)), TOKEN)
    given = (b"authorization", login(b"a")["Authorization"].encode())
    host = (b"host", b"192.0.2.9")
    assert gate.refusal("GET", "/", [host, given]) is None
    assert gate.refusal("GET", "/", [host, given, given]) is not None


def test_a_token_does_no_harm_where_none_is_needed(endpoint: Endpoint):
    assert endpoint.get("/status", **AUTH).status_code == 200


@pytest.mark.parametrize("route", ORDERS)
@pytest.mark.parametrize(
    "marks",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_a_page_of_another_site_orders_nothing(endpoint: Endpoint, route: str, marks: dict[str, str]):
    answer = endpoint.post(route, headers={**GOOD, **marks})
    assert answer.status_code == 403
    assert is_problem(answer)
    assert endpoint.daemon.asked == []


def test_a_page_of_our_own_may_order(endpoint: Endpoint):
    marks = {"Origin": f"http://{endpoint.server.address}", "Sec-Fetch-Site": "same-origin"}
    assert endpoint.post("/reindex", headers={**GOOD, **marks}).status_code == 202


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"])
def test_an_order_that_is_not_json_is_refused(endpoint: Endpoint, kind: str | None):
    """A form of another site can send these without asking first."""
    answer = endpoint.post("/reindex", headers=AUTH if kind is None else {**AUTH, "Content-Type": kind})
    assert answer.status_code == 415
    assert is_problem(answer)


def test_json_may_name_its_encoding(endpoint: Endpoint):
    headers = {**AUTH, "Content-Type": "Application/JSON; charset=utf-8"}
    assert endpoint.post("/reindex", headers=headers).status_code == 202


@pytest.mark.parametrize("is_chunked", [False, True], ids=["declared", "chunked"])
def test_a_body_beyond_the_bound_is_refused(endpoint: Endpoint, is_chunked: bool):
    body = b'{"sources": []' + b" " * (MAX_BODY_BYTES - 15) + b"}"
    assert len(body) == MAX_BODY_BYTES

    def send(body: bytes):
        return endpoint.client.post("/reindex", content=pieces(body) if is_chunked else body, headers=GOOD)

    assert send(body).status_code == 202
    answer = send(body + b" ")
    assert answer.status_code == 413
    assert is_problem(answer)


def pieces(body: bytes):
    for start in range(0, len(body), 4096):
        yield body[start : start + 4096]


@pytest.mark.parametrize(
    ("method", "route", "headers", "status"),
    [
        ("GET", "/healthz", {}, 200),
        ("GET", "/status", {}, 200),
        ("GET", "/metrics", {}, 200),
        ("GET", "/openapi.json", {}, 200),
        ("GET", "/nowhere", {}, 404),
        ("GET", "/search", {}, 422),
        ("GET", "/status", {"Host": "evil.example"}, 421),
        ("POST", "/reindex", {}, 401),
        ("POST", "/reindex", {**GOOD, "Origin": "null"}, 403),
        ("POST", "/status", GOOD, 405),
        ("POST", "/reindex", AUTH, 415),
        ("GET", "/search?q=" + "a" * 9_000, {}, 422),
    ],
)
def test_every_answer_tells_browsers_to_trust_nothing(endpoint: Endpoint, method, route, headers, status):
    answer = endpoint.client.request(method, route, headers=headers)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert "server" not in answer.headers
    assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("route", ["/docs", "/redoc", "/healthz/", "/status/"])
def test_no_page_loads_from_elsewhere_and_no_redirect_repeats_what_a_client_said(endpoint: Endpoint, route: str):
    assert endpoint.get(route).status_code == 404
