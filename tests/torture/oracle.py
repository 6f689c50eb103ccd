"""What an index over a folder of Markdown has to hold, said a second time: imports nothing of freshd.

Told from the published rules alone: the files that are there; every word of theirs, in order, in exactly one chunk;
a point's id from source, document, embedded text and occurrence; a vector from the embedded text.
"""

import hashlib
import math
import re
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_CHUNK_IDS = uuid.UUID("5a0e6f0c-6c1b-5d0e-9a43-6f5f4e1c7d21")
_HEADING = re.compile(r" {0,3}#{1,6}(\s|$)")
_NEAR = 1e-4
"""How far a whole vector may be from the one of its text: the store packs numbers."""

Points = Mapping[str, Mapping[str, Any]]
"""By id: `payload`, `dense`."""


def complaints(
    docs: Path, source: str, entries: Mapping[str, str], feed: str, points: Points, *, has_model: bool = False
) -> list[str]:
    """Say everything that is wrong with an index; nothing where all is well.

    Args:
        docs: The folder.
        source: Its name.
        entries: Words of each entry that the feed shows.
        feed: Its name.
        points: What the index holds.
        has_model: Their vectors are a model's, of which nothing can be said here.

    """
    held: dict[tuple[str, str], list[tuple[str, Mapping[str, Any]]]] = defaultdict(list)
    for point_id, point in points.items():
        held[point["payload"]["source"], point["payload"]["freshd"]["document_id"]].append((point_id, point))
    wanted = {(source, str(path.relative_to(docs))): _words(path.read_text()) for path in _files(docs)}
    wanted |= {(feed, key): text.split() for key, text in entries.items()}
    wanted = {key: words for key, words in wanted.items() if words}
    found = [f"{key}: not in the index" for key in wanted.keys() - held.keys()]
    found += [f"{key}: in the index, but not in its source" for key in held.keys() - wanted.keys()]
    for key in sorted(wanted.keys() & held.keys()):
        chunks = sorted(held[key], key=lambda one: one[1]["payload"]["freshd"]["ordinal"])
        found += [f"{key}: {what}" for what in _of_document(key, wanted[key], chunks, key[0] == feed)]
        if not has_model:
            found += [f"{key}: {what}" for what in _of_vectors(chunks)]
        if key[0] == source:
            digest = hashlib.sha256((docs / key[1]).read_bytes()).hexdigest()
            found += [f"{key}: of other bytes" for _, one in chunks if one["payload"]["content_sha256"] != digest][:1]
    return found


def _of_document(key: tuple[str, str], words: list[str], chunks: list[Any], is_feed: bool) -> Iterator[str]:
    ordinals = [one["payload"]["freshd"]["ordinal"] for _, one in chunks]
    if ordinals != list(range(len(ordinals))):
        yield f"chunks {ordinals}"
    got = [word for _, one in chunks for word in one["payload"]["page_content"].split() if word.strip("#")]
    if not (is_feed and set(words) <= set(got)) and got != words:
        at = next((i for i, (a, b) in enumerate(zip(got, words, strict=False)) if a != b), min(len(got), len(words)))
        yield f"{len(got)} words, expected {len(words)}; differs at {at}: {got[at : at + 3]} for {words[at : at + 3]}"
    seen: Counter[str] = Counter()
    for point_id, one in chunks:
        payload = one["payload"]
        digest = hashlib.sha256(_embedded(payload).encode()).hexdigest()
        if payload["freshd"]["digest"] != digest:
            yield f"chunk {payload['freshd']['ordinal']}: its digest is not that of its text"
        if str(uuid.uuid5(_CHUNK_IDS, f"{key[0]}\0{key[1]}\0{digest}\0{seen[digest]}")) != point_id:
            yield f"chunk {payload['freshd']['ordinal']}: its id is not that of its text"
        seen[digest] += 1


def _of_vectors(chunks: list[Any]) -> Iterator[str]:
    for _, one in chunks:
        expected = _vector(_embedded(one["payload"]), len(one["dense"]))
        if math.dist(one["dense"], expected) > _NEAR:
            yield f"chunk {one['payload']['freshd']['ordinal']}: its vector is not that of its text"


def _embedded(payload: Mapping[str, Any]) -> str:
    path = " > ".join(payload["metadata"]["heading_path"])
    return (f"{path}\n" if path else "") + str(payload["page_content"])


def _files(docs: Path) -> Iterator[Path]:
    """Regular files: a link is followed neither to a file nor to a folder."""
    found = (path for path in docs.rglob("*.md") if path.is_file() and not path.name.startswith("."))
    return (path for path in found if not any(one.is_symlink() for one in (path, *path.parents)))


def _words(text: str) -> list[str]:
    """Words of the text, without the headings, which are no text but where nothing stands under them."""
    lines = [line for line in text.split("\n") if line.strip()]
    words: list[str] = []
    for line, following in zip(lines, [*lines[1:], "#"], strict=False):
        if not _HEADING.match(line):
            words += line.split()
        elif _HEADING.match(following):
            words += line.lstrip(" #").split()
    return words


def _vector(text: str, dimension: int) -> list[float]:
    raw = hashlib.shake_256(text.encode()).digest(4 * dimension)
    numbers = [int.from_bytes(raw[i : i + 4], "big") - 2**31 + 0.5 for i in range(0, len(raw), 4)]
    norm = math.hypot(*numbers)
    return [number / norm for number in numbers]
