"""reStructuredText: sections, directives, literal blocks, lists and tables, line by line."""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.parsers.rst_inline import plain_title

RST = "text/x-rst"


def rst(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


def test_levels_follow_the_order_in_which_adornments_appear(parse, paths):
    found = paths(parse("===\nTop\n===\n\nt\n\nA\n~~~\n\na\n\nB\n===\n\nb\n\nC\n~~~\n\nc\n\n===\nEnd\n===\n\ne\n", RST))
    assert found["t"] == ("Top",)
    assert found["a"] == ("Top", "A")
    assert found["b"] == ("Top", "A", "B")  # = without overline is another adornment than with one
    assert found["c"] == ("Top", "C")
    assert found["e"] == ("End",)


def test_a_title_is_one_block_with_its_lines(parse, blocks):
    assert blocks(parse("=====\nTitle\n=====\n\nSub\n---\n", RST)) == [
        ("heading", "=====\nTitle\n====="),
        ("heading", "Sub\n---"),
    ]


@pytest.mark.parametrize(
    ("source", "title"),
    [
        (":class:`Foo` objects", "Foo objects"),
        (":class:`~pkg.mod.Foo`", "Foo"),
        (":py:meth:`!Foo.bar`", "Foo.bar"),
        (":ref:`the text <label>`", "the text"),
        ("``Model._meta`` API", "Model._meta API"),
        ("`Link <https://x>`_ and `other`__", "Link and other"),
        ("**Bold** *soft* |sub|", "Bold soft sub"),
        ("``*args`` and ``**kwargs``", "*args and **kwargs"),
        ("2 * 3 * 4", "2 * 3 * 4"),
        ("a\\*b snake_case __init__", "a*b snake_case __init__"),
        ("unclosed ``literal", "unclosed ``literal"),
    ],
)
def test_titles_lose_their_inline_markup(parse, source, title):
    assert plain_title(source) == title
    assert parse(f"{source}\n{'=' * len(source)}\n", RST).title == title


def test_a_short_underline_of_four_is_a_title_as_in_docutils(parse):
    assert parse("A longer title\n====\n", RST).title == "A longer title"


@pytest.mark.parametrize("text", ["Not a title\n--\n", "a line\nanother\n=======\n", "  indented\n========\n\nx\n"])
def test_what_only_resembles_a_title_is_none(parse, text):
    assert parse(text, RST).title is None


def test_code_directives_are_one_block_with_blank_lines_and_options(parse, blocks):
    text = rst("""
        .. code-block:: python
           :caption: x.py

           def f():

               return 1

        after
    """)
    (_, code), after = blocks(parse(text, RST))
    assert code.startswith(".. code-block::")
    assert code.endswith("return 1")
    assert after == ("paragraph", "after")


def test_an_admonition_keeps_its_first_paragraph_and_its_body_goes_on(parse, blocks):
    text = rst("""
        .. note:: Mind
           the gap.

           First.

           Second::

               literal

           - item

        after
    """)
    assert blocks(parse(text, RST)) == [
        ("paragraph", ".. note:: Mind\n   the gap.\n\n   First."),
        ("paragraph", "   Second::"),
        ("code", "       literal"),
        ("list", "   - item"),
        ("paragraph", "after"),
    ]


def test_a_literal_block_lasts_as_long_as_it_is_indented(parse, blocks):
    assert blocks(parse("Say::\n\n    a\n\n      b\n\nback\n\n::\n\n  c\n", RST)) == [
        ("paragraph", "Say::"),
        ("code", "    a\n\n      b"),
        ("paragraph", "back"),
        ("paragraph", "::"),
        ("code", "  c"),
    ]


def test_titles_and_directives_within_literal_text_are_literal(parse, blocks):
    found = blocks(parse("Say::\n\n    Title\n    =====\n\n    .. note:: x\n\nend\n", RST))
    assert [kind for kind, _ in found] == ["paragraph", "code", "paragraph"]


def test_each_item_is_a_block_with_all_that_belongs_to_it(parse, blocks):
    text = "* one\n* two\n  wrapped\n\n  more\n\n  * nested\n\n#. first\n2) second\n(iv) fourth\n"
    assert blocks(parse(text, RST)) == [
        ("list", "* one"),
        ("list", "* two\n  wrapped\n\n  more\n\n  * nested"),
        ("list", "#. first"),
        ("list", "2) second"),
        ("list", "(iv) fourth"),
    ]


def test_a_sentence_that_begins_with_an_initial_is_no_list(parse, blocks):
    assert blocks(parse("A. Einstein was\nnot a list.\n", RST)) == [("paragraph", "A. Einstein was\nnot a list.")]


def test_a_definition_stays_with_its_term(parse, blocks):
    assert blocks(parse("term\n    what it\n    means\n", RST)) == [("paragraph", "term\n    what it\n    means")]


@pytest.mark.parametrize(
    "table",
    [
        "+---+---+\n| a | b |\n+===+===+\n| 1 | 2 |\n+---+---+",
        "=== ===\nA   B\n=== ===\n1   2\n\n3   4\n=== ===",
        "=== ===\n1   2\n=== ===",
        ".. list-table::\n   :header-rows: 1\n\n   * - A\n     - B\n\n   * - 1\n     - 2",
    ],
)
def test_tables_stay_whole(parse, blocks, table):
    assert blocks(parse(f"before\n\n{table}\n\nafter\n", RST)) == [
        ("paragraph", "before"),
        ("table", table),
        ("paragraph", "after"),
    ]


def test_a_table_that_never_ends_is_text(parse, left_out):
    assert left_out(parse("=== ===\nA   B\n\nwords\n", RST)) == ""


def test_interactive_sessions_are_code(parse, blocks):
    assert blocks(parse(">>> 1 + 1\n2\n\nend\n", RST)) == [("code", ">>> 1 + 1\n2"), ("paragraph", "end")]


def test_labels_and_comments_are_left_out_and_nothing_else(parse, left_out, blocks):
    text = rst("""
        .. _label:
        .. _`other: label`:

        Title
        =====

        .. a comment
           of lines

           and paragraphs

        ..

            quoted, for two dots alone comment out nothing

        .. _address: https://x
        .. _long:
           https://y
        .. [1] footnote
        .. |name| replace:: text
        .. unknown:directive:: kept

        __ https://anonymous
    """)
    parsed = parse(text, RST)
    assert left_out(parsed) == ".. _label: .. _`other: label`: .. a comment of lines and paragraphs .."
    assert [text for _, text in blocks(parsed)][2:] == [
        ".. _address: https://x",
        ".. _long:\n   https://y",
        ".. [1] footnote",
        ".. |name| replace:: text",
        ".. unknown:directive:: kept",
        "__ https://anonymous",
    ]


def test_nesting_however_deep_costs_no_recursion(parse, left_out):
    text = "".join(" " * depth + ".. note::\n\n" for depth in range(1500)) + " " * 1500 + "core\n"
    assert left_out(parse(text, RST)) == ""


PIECES = st.sampled_from(
    [
        *("Title", "=====", "-----", "~~", "....", "::", "words::", "words", "  indented", "    deep", "- item", "* i"),
        *("1. one", "A. b", "#. x", ".. note::", ".. note:: x", "   .. code-block:: py", ".. code::", ".. _label:"),
        *(".. _a: b", ".. comment", "..", "=== ===", "+---+", "| a |", ">>> 1", ":field: x", "term", "\tx", "", "", ""),
        *("__ x", ".. [1] f", ".. |s| image:: x", "\u00a0", "\x0c", "`", "\\"),
    ]
)


@given(st.lists(PIECES, max_size=30))
def test_blocks_hold_all_that_is_visible_but_comments_and_labels(parse, left_out, has_source_lines, pieces):
    parsed = parse("\n".join(pieces), RST)
    assert has_source_lines(parsed)
    rest = left_out(parsed)
    assert rest == "" or rest.startswith("..")


@given(st.lists(PIECES.filter(lambda piece: not piece.lstrip().startswith("..")), max_size=30))
def test_without_comments_and_labels_nothing_is_left_out(parse, left_out, pieces):
    assert left_out(parse("\n".join(pieces), RST)) == ""
