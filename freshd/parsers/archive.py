"""An office document as the zip archive of XML that it is: judged by its directory before anything is unpacked.

    directory ─▶ too many, too large, encrypted, damaged? ─▶ every XML part: declares entities? ─▶ readable

Nothing is ever written to disk, and archives within are not opened.
"""

import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lxml import etree

from freshd.errors import ParseError
from freshd.parsers.limits import HARMLESS_BYTES, MAX_EXPANDED_BYTES, MAX_MEMBERS, MAX_RATIO, MIB

VERSION = "archive-1"

_LEAVE_OUT: Final = "leave it out with `exclude`"
_AGAIN: Final = "open it in its program and save it again, or leave it out with `exclude`"
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_IS_ENCRYPTED: Final = 0x1

_XML_ENDINGS: Final = (".xml", ".rels", ".vml")
_ENCODINGS: Final = frozenset({"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin1", "windows-1252"})
"""In which what follows looks the same as in ASCII."""
_DECLARED_ENCODING = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{1,40})")
_UTF_16: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_DECLARATIONS = re.compile(rb"<!(?:ENTITY|DOCTYPE)")


class Archive:
    """The members of an office document, all of them readable."""

    def __init__(self, content: bytes) -> None:
        """Open and judge an archive.

        Raises:
            ParseError: It is damaged, encrypted or built to explode.

        """
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, UnicodeError) as error:
            raise _damaged(error) from error
        self._members = {info.filename: info for info in self._zip.infolist()}
        _judge(self._zip.infolist(), len(content))

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def names(self) -> Iterator[str]:
        """Yield the names of all members."""
        yield from self._members

    def read(self, name: str) -> bytes:
        """Unpack one member.

        Raises:
            ParseError: It is damaged.

        """
        try:
            return self._zip.read(self._members[name])
        except (zipfile.BadZipFile, zlib.error, ValueError, OSError, EOFError, NotImplementedError) as error:
            raise _damaged(error) from error

    def xml_parts(self) -> Iterator[tuple[str, bytes]]:
        """Yield name and source of every part that is XML, each free of declarations.

        Raises:
            ParseError: One is damaged, declares entities, or is in an encoding in which that cannot be seen.

        """
        for name in self._members:
            if name.lower().endswith(_XML_ENDINGS):
                source = self.read(name)
                _expect_no_declarations(name, source)
                yield name, source

    def replaced(self, parts: Mapping[str, bytes]) -> bytes:
        """Give the archive anew with other sources for some of its parts; media are copied, not packed again."""
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as copy:
            for name in self._members:
                copy.writestr(zipfile.ZipInfo(name), parts[name] if name in parts else self.read(name))
        return target.getvalue()


def parse_part(name: str, source: bytes) -> Any:
    """Parse one part into a tree; no entity is resolved, nothing is fetched.

    Raises:
        ParseError: It is no XML.

    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        return etree.fromstring(source, parser)
    except etree.XMLSyntaxError as error:
        raise ParseError(
            f"{name}: got XML that cannot be parsed ({error}), expected an intact office document", hint=_AGAIN
        ) from error


def _judge(members: list[zipfile.ZipInfo], n_bytes: int) -> None:
    """Raise for an archive that must not be unpacked."""
    if len(members) > MAX_MEMBERS:
        raise ParseError(
            f"got an archive of {len(members):,} members, expected at most {MAX_MEMBERS:,}", hint=_LEAVE_OUT
        )
    if any(member.flag_bits & _IS_ENCRYPTED for member in members):
        raise ParseError("got an encrypted archive, expected one without password", hint="save it without a password")
    if any(member.compress_type not in _METHODS for member in members):
        raise ParseError("got an archive packed in an unusual way, expected an office document", hint=_AGAIN)
    expanded = sum(member.file_size for member in members)
    most = min(MAX_EXPANDED_BYTES, max(HARMLESS_BYTES, n_bytes * MAX_RATIO))
    if expanded > most:
        raise ParseError(
            f"got an archive of {n_bytes:,} bytes that expands to {expanded // MIB:,} MiB,"
            f" expected at most {most // MIB:,} MiB",
            hint=_LEAVE_OUT,
        )


def _expect_no_declarations(name: str, source: bytes) -> None:
    """Raise for XML that declares anything: office programs never do, entity bombs must."""
    wide = _UTF_16.get(source[:2])
    if wide is not None:
        source = source.decode(wide, "replace").encode()
    declared = _DECLARED_ENCODING.search(source[:300])
    encoding = declared[1].decode("ascii").lower() if declared else "utf-8"
    is_plain = wide is not None or (encoding in _ENCODINGS and b"\0" not in source[:4])
    if not is_plain:
        raise ParseError(f"{name}: got XML in {encoding}, expected UTF-8", hint=_AGAIN)
    if _DECLARATIONS.search(source):
        raise ParseError(
            f"{name}: got XML that declares entities or a document type, expected none in an office document",
            hint=_LEAVE_OUT,
        )


def _damaged(error: Exception) -> ParseError:
    return ParseError(f"got a damaged archive ({error}), expected an intact office document", hint=_AGAIN)
