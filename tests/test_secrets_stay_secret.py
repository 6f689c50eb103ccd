"""A secret planted in every input of a daemon that is then shown nowhere it need not be. Security list, row S8.

Each input has a secret of its own, so that the one that turns up tells which way it came.
"""

import base64
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from freshd.config import load, secrets_of_sources
from tests.daemon.instance import FILES, Instance, eventually, freshd, instance
from tests.qdrant_standin import Failure, Standin, serving
from tests.scripted_server import Reply, Request, ScriptedServer

_INPUTS = (
    "token",
    "read-token",
    "qdrant-key",
    "feed-header",
    "feed-query",
    "feed-environment",
    "server-body",
    "location-query",
    "location-userinfo",
    "answer-header",
    "store-reason-url",
    "document-text",
    "broken-text",
    "search-text",
    "wrong-token",
    "request-query",
    "config-value",
    "bystander",
)
SECRETS = {name: f"c4nary.{name}.5ecret" for name in _INPUTS}


def forms(secret: str) -> set[bytes]:
    """As it stands, as an address would spell it, and as a Basic login would carry it."""
    packed = [base64.b64encode((" " * n + secret).encode())[4:-4] for n in range(3)]
    return {secret.encode(), quote(secret, safe="").encode(), *packed}


def found_in(raw: bytes, *names: str) -> set[str]:
    return {name for name in names or SECRETS if any(form in raw for form in forms(SECRETS[name]))}


def sources(good: ScriptedServer) -> str:
    def feed(name: str) -> str:
        return (
            f'[[sources]]\nname = "{name}"\ntype = "feed"\nfreshness_target = "2s"\n'
            f'url = "{good.url(f"/{name}")}?key={SECRETS["feed-query"]}"\n'
            f'allow_private_hosts = ["{good.host}"]\n'
            f'headers = {{ X-Api-Key = "{SECRETS["feed-header"]}", Authorization = "Bearer ${{FEED_SECRET}}" }}\n'
        )

    return FILES + "".join(map(feed, ("works", "fails", "moves", "logs-in", "reflects")))


def script(server: ScriptedServer) -> None:
    """Servers that say in every way what they should not."""
    item = "<item><guid>1</guid><description>x</description></item>"
    rss = f'<rss version="2.0"><channel><title>N</title>{item}</channel></rss>'.encode()
    spoken = {"X-Said": SECRETS["answer-header"], "ETag": f'"{SECRETS["answer-header"]}\x7f"'}
    server.on("/works", Reply(200, rss, spoken))
    server.on("/fails", Reply(500, SECRETS["server-body"].encode(), spoken))
    where = f"ftp://{SECRETS['location-userinfo']}@{server.host}/?token={SECRETS['location-query']}"
    server.on("/moves", Reply(302, headers={"Location": where}))
    server.on("/logs-in", Reply(200, f"<html>{SECRETS['server-body']}</html>".encode(), {"Content-Type": "text/html"}))

    def reflect(request: Request) -> Reply:
        said = quote(request.headers["authorization"])
        return Reply(302, headers={"Location": f"http://other.example:81/{said}/{request.headers['x-api-key']}"})

    server.on("/reflects", reflect)


@pytest.fixture
def store() -> Iterator[Standin]:
    with serving(SECRETS["qdrant-key"]) as server:
        yield server


@pytest.fixture
def one(tmp_path: Path, store: Standin) -> Iterator[Instance]:
    with ScriptedServer() as web, instance(tmp_path / "one") as made:
        script(web)
        made.configure(sources(web), f'[store]\nurl = "{store.url}"\n')
        made.write("a.md", f"# A\n\nThe firstword. {SECRETS['document-text']}\n")
        (made.docs / "broken.md").write_bytes(b"\0\1\2" + SECRETS["broken-text"].encode() * 50)
        made.start(
            FRESHD_TOKEN=SECRETS["token"],
            FRESHD_READ_TOKEN=SECRETS["read-token"],
            FRESHD_QDRANT_API_KEY=SECRETS["qdrant-key"],
            FEED_SECRET=SECRETS["feed-environment"],
            BYSTANDER_PASSWORD=SECRETS["bystander"],
        )
        yield made


def asked_everything(one: Instance) -> bytes:
    """Everything the endpoint says, to friend and foe."""
    said = b""
    with one.http() as client:
        for path in ("/status", "/metrics", "/", "/?fragment=true", "/changes", "/openapi.json", "/readyz", "/healthz"):
            said += client.get(path).content
        said += client.get("/deletions", params={"source": "handbook"}).content
        job = client.post("/reindex?wait=10", json={})  # half of what the client waits for an answer
        said += job.content + client.get(f"/jobs/{job.json()['job']}").content
        said += client.get("/search", params={"q": f"nothing {SECRETS['search-text']}", "source": "nobody"}).content
        said += client.get("/nowhere", params={"token": SECRETS["request-query"]}).content
        said += client.get("/changes", params={"after": SECRETS["request-query"]}).content[:0]
        for scheme in ("Bearer", "Basic"):
            foe = {"authorization": f"{scheme} {SECRETS['wrong-token']}"}
            said += client.post("/reindex", json={}, headers=foe).content
            said += client.get("/status", headers={**foe, "host": f"{SECRETS['request-query']}.example"}).content[:0]
    return said


def test_no_secret_is_shown_where_it_need_not_be(one: Instance, store: Standin):
    one.settled()
    eventually(lambda: all(one.source(name)["last_error"] for name in ("fails", "moves", "logs-in", "reflects")))
    eventually(lambda: one.source()["quarantined"] or one.events("document_failed"))
    one.get("/search", q=f"what is {SECRETS['search-text']}").raise_for_status()
    said = asked_everything(one)

    reason = json.dumps({"status": {"error": f"see http://u:{SECRETS['store-reason-url']}@h/?token=x"}})
    store.failures = [Failure(500, body=reason.encode())] * 3
    one.write("b.md", "# B\n\nThe secondword.\n")
    eventually(lambda: one.events("store_lost"))
    said += asked_everything(one)
    eventually(lambda: one.places("secondword"))
    store.api_key = "another"
    one.write("b.md", "# B\n\nThe thirdword.\n")
    eventually(lambda: len(one.events("store_lost")) > 1)
    said += asked_everything(one)

    good = (one.root / "freshd.toml").read_text()
    for bad in (f'{good}\npassword = "{SECRETS["config-value"]}"\n', good.replace("X-Api-Key =", "Host =")):
        (one.root / "freshd.toml").write_text(bad)
        n = len(one.events("config_refused"))
        one.signal(signal.SIGHUP)
        eventually(lambda n=n: len(one.events("config_refused")) > n)
        refused = freshd(one.root, "status")
        said += (refused.stdout + refused.stderr).encode()
    (one.root / "freshd.toml").write_text(good)
    for command in (["status", "--json"], ["history"], ["search", "firstword", "--source", "nobody"]):
        done = freshd(one.root, *command)
        said += (done.stdout + done.stderr).encode()
    assert one.stop() == 0

    assert found_in(said) == set()
    assert found_in(one.log_text().encode()) == set()
    kept = {path.name: path.read_bytes() for path in one.state.path.rglob("*") if path.is_file()}
    assert {"ledger.db", "vectors.db"} <= set(kept)
    for name, raw in kept.items():
        if name == "daemon.json":  # which only the owner may read, so that commands can ask
            assert found_in(raw) <= {"token"}
            continue
        assert found_in(raw) == set(), name
    planted = json.dumps([point.payload for point in store.client.scroll(store_collection(store))[0]]).encode()
    assert found_in(planted) == {"document-text"}, "what is searched stands where it is searched, and nothing else"


def store_collection(store: Standin) -> str:
    (one,) = store.client.get_collections().collections
    return str(one.name)


def test_the_search_for_secrets_would_find_them():
    """Without this the test above could not fail."""
    for name, secret in SECRETS.items():
        assert found_in(f"x {secret} y".encode()) == {name}
        assert found_in(base64.b64encode(f"user:{secret}".encode())) == {name}
        assert found_in(quote(f"http://{secret}@x/").encode()) == {name}


def test_what_sources_name_in_the_environment_or_hold_under_telling_keys_is_known_for_secret(tmp_path: Path):
    (tmp_path / "freshd.toml").write_text(
        FILES
        + '[[sources]]\nname = "news"\ntype = "feed"\nurl = "http://x.example/"\n'
        + 'headers = { Authorization = "Bearer literal-one", X-Key = "${ONE} and ${TWO}", Accept = "text/plain" }\n'
    )
    config = load(tmp_path / "freshd.toml", connectors=False)
    environment = {"ONE": "secret-one", "TWO": " secret-two ", "PATH": "/bin"}
    assert set(secrets_of_sources(config, environment)) == {
        "Bearer literal-one",
        "literal-one",
        "secret-one",
        "secret-two",
    }
