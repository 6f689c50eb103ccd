"""Arbitrary bytes, as any format: blocks that hold, or a ParseError; never anything else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.errors import ParseError

TYPES = ["text/markdown", "text/x-rst", "text/html", "application/xhtml+xml", "text/plain", "application/json", None]
MARKUP = st.sampled_from(
    [
        b"#",
        b"=",
        b"-",
        b"\n",
        b"\r\n",
        b" ",
        b"..",
        b"::",
        b"<",
        b">",
        b"&",
        b"`",
        b"*",
        b"\t",
        b"|",
        b"+",
        b"\xff",
        b"\xc3",
    ]
)


@pytest.mark.parametrize("media_type", TYPES)
@given(content=st.binary(max_size=300) | st.lists(MARKUP, max_size=80).map(b"".join))
def test_any_bytes_give_blocks_that_hold_or_a_parse_error(parse, media_type, content):
    """What `parse` returns was held against the contract of blocks."""
    try:
        parse(content, media_type)
    except ParseError as error:
        refused = error
    else:
        return
    assert "'page'" in str(refused)
    assert refused.hint


@pytest.mark.parametrize("media_type", TYPES)
@given(text=st.text(max_size=200), encoding=st.sampled_from(["utf-8", "utf-16", "utf-32", "utf-8-sig"]))
def test_any_text_in_any_unicode_encoding_is_no_crash(parse, media_type, text, encoding):
    try:
        parse(text.encode(encoding, "replace"), media_type)
    except ParseError as error:
        refused = error
    else:
        return
    assert "binary" in str(refused)


@pytest.mark.parametrize("media_type", TYPES)
@given(content=st.lists(MARKUP, max_size=60).map(b"".join))
def test_the_same_bytes_give_the_same_blocks(parse, media_type, content):
    assert parse(content, media_type) == parse(content, media_type)
