"""Plain text: paragraphs are what blank lines part."""

import time

from hypothesis import given
from hypothesis import strategies as st

PLAIN = "application/yaml"  # a type that is taken apart as plain text without looking


def test_paragraphs_are_parted_at_blank_lines(parse, blocks, left_out, has_source_lines):
    parsed = parse("one\n  two\n\n \t\nthree   \n\n\n", "text/plain")
    assert blocks(parsed) == [("paragraph", "one\n  two"), ("paragraph", "three")]
    assert [(block.start_line, block.end_line) for block in parsed.blocks] == [(1, 2), (5, 5)]
    assert left_out(parsed) == ""
    assert has_source_lines(parsed)


def test_lines_are_those_of_the_source_whatever_ends_them(parse):
    for newline in ("\n", "\r\n", "\r"):
        parsed = parse(newline.join(["a", "", "b", "c"]), "text/plain")
        assert [(block.start_line, block.end_line) for block in parsed.blocks] == [(1, 1), (3, 4)]


def test_an_empty_document_has_no_blocks(parse):
    for content in ("", "\n", " \n\t\n"):
        assert parse(content, "text/plain").blocks == ()


def test_a_long_single_line_is_one_block(parse):
    parsed = parse("word " * 1_000_000, "text/plain")
    assert len(parsed.blocks) == 1


def test_a_large_text_takes_time_in_proportion(parse):
    """Ten times the text may take some tens of times as long, not a hundred: nothing in it is quadratic."""

    def seconds(n: int) -> float:
        started = time.perf_counter()
        parse("some words\nand more\n\n" * n, PLAIN)
        return time.perf_counter() - started

    small = min(seconds(1000) for _ in range(3))
    assert min(seconds(10_000) for _ in range(3)) < 60 * small


@given(st.lists(st.text(alphabet="ab \t\n\r\x0b\x0c\x85\u2028é", max_size=8), max_size=30).map("\n".join))
def test_blocks_hold_all_that_is_visible(parse, left_out, has_source_lines, text):
    parsed = parse(text, PLAIN)
    assert left_out(parsed) == ""
    assert has_source_lines(parsed)
