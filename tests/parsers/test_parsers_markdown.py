"""Markdown: blocks on whole lines of the source, headings as paths, front matter as title and metadata."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

MARKDOWN = "text/markdown"


def test_headings_of_both_kinds_make_paths(parse, paths):
    found = paths(parse("intro\n\n# A\n\na\n\nB\n---\n\nb\n\n### C\nc\n\n## D\n\nd\n\nE\nmore\n===\n\ne\n", MARKDOWN))
    assert found["intro"] == ()
    assert found["a"] == ("A",)
    assert found["B\n---"] == ("A",)
    assert found["b"] == ("A", "B")
    assert found["c"] == ("A", "B", "C")
    assert found["d"] == ("A", "D")
    assert found["E\nmore\n==="] == ()
    assert found["e"] == ("E more",)


@pytest.mark.parametrize(
    ("heading", "title"),
    [
        ("# **Bold** and *soft*", "Bold and soft"),
        ("# A [link](http://x) here", "A link here"),
        ("# `code_name` API", "code_name API"),
        ("# ![alt text](i.png) after", "alt text after"),
        ("# R&amp;D \\*x\\*", "R&D *x*"),
        ("# <b>Tag</b> ##", "Tag"),
        ("# [ref] ~~gone~~\n\n[ref]: http://x", "ref gone"),
    ],
)
def test_titles_are_what_a_reader_sees(parse, heading, title):
    assert parse(heading, MARKDOWN).title == title


def test_every_construct_is_a_block_of_its_kind(parse, blocks, left_out, has_source_lines):
    text = (
        "para\nlines\n\n- one\n- two\n\n  more\n  - nested\n\n1. first\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
        "```py\n# no heading\n\nx\n```\n\n    indented\n\n> quote\nlazy\n\n<div>\nhtml\n</div>\n\n***\n\n[r]: http://x\n"
    )
    parsed = parse(text, MARKDOWN)
    assert blocks(parsed) == [
        ("paragraph", "para\nlines"),
        ("list", "- one"),
        ("list", "- two\n\n  more\n  - nested"),
        ("list", "1. first"),
        ("table", "| a | b |\n|---|---|\n| 1 | 2 |"),
        ("code", "```py\n# no heading\n\nx\n```"),
        ("code", "    indented"),
        ("paragraph", "> quote\nlazy"),
        ("paragraph", "<div>\nhtml\n</div>"),
        ("paragraph", "***"),
        ("paragraph", "[r]: http://x"),
    ]
    assert left_out(parsed) == ""
    assert has_source_lines(parsed)


def test_headings_within_quotes_items_and_code_open_no_section(parse, paths):
    found = paths(parse("# A\n\n> # quoted\n\n- # item\n\n```\n# code\n```\n\nend\n", MARKDOWN))
    assert found["end"] == ("A",)


def test_comments_that_stand_alone_are_left_out(parse, left_out):
    parsed = parse("<!-- secret -->\n\nseen <!-- inline stays -->\n\n<!-- a -->\n<!-- b\n\nc -->\n\nend\n", MARKDOWN)
    assert left_out(parsed) == "<!-- secret --> <!-- a --> <!-- b c -->"


@pytest.mark.parametrize("text", ["<!-- a --> told\n", "<!-- never closed\n\ntext\n"])
def test_a_comment_with_text_beside_it_is_kept(parse, left_out, text):
    assert left_out(parse(text, MARKDOWN)) == ""


def test_yaml_front_matter_is_title_and_metadata(parse, left_out):
    text = (
        "---\ntitle: 'Own: title'\ntags: [a, b]\ndate: 2024-01-02\ndraft: true\nn: 3\nx: {y: [1]}\n---\n\n# H\n\nbody\n"
    )
    parsed = parse(text, MARKDOWN)
    assert parsed.title == "Own: title"
    assert parsed.metadata == {"tags": "a, b", "date": "2024-01-02", "draft": "true", "n": "3", "x": '{"y": [1]}'}
    assert parsed.text == text
    assert parsed.blocks[0].start_line == 10
    assert left_out(parsed).startswith("--- title")


def test_front_matter_may_have_dates_for_keys(parse):
    parsed = parse(
        "---\ntitle: Notes\n2024-01-01: new\nreleases:\n  2024-01-01: first\n  1: [2024-02-01: second]\n---\n# Body\n",
        MARKDOWN,
    )
    assert parsed.title == "Notes"
    assert parsed.metadata == {
        "2024-01-01": "new",
        "releases": '{"2024-01-01": "first", "1": [{"2024-02-01": "second"}]}',
    }


def test_toml_front_matter_is_title_and_metadata(parse):
    parsed = parse('+++\ntitle = "T"\nweight = 2\ndate = 1979-05-27T07:32:00Z\n+++\nbody\n', MARKDOWN)
    assert parsed.title == "T"
    assert parsed.metadata == {"weight": "2", "date": "1979-05-27T07:32:00+00:00"}


@pytest.mark.parametrize(
    "text",
    [
        "---\nnot: [closed\n---\nbody\n",
        "---\njust words\n---\nbody\n",
        "---\nnever: closed\n\nbody\n",
        "+++\nnot toml\n+++\nbody\n",
        "---\ndate: 2024-13-45\n---\nbody\n",
        "---\n" + "[" * 2000 + "\n---\nbody\n",
        "---\nn: " + "9" * 5000 + "\n---\nbody\n",
        "---\nx: !!python/object:os.system {}\n---\nbody\n",
        '---\nx: !!int ""\n---\nbody\n',
        "---\nx: !!bool perhaps\n---\nbody\n",
        "---\nx: !!timestamp soon\n---\nbody\n",
        "---\nx: 1" + ":1" * 300 + ".5\n---\nbody\n",
        "---\n" + "k: v\n" * 5000 + "---\nbody\n",
    ],
)
def test_invalid_front_matter_is_text(parse, left_out, text):
    parsed = parse(text, MARKDOWN)
    assert parsed.metadata == {}
    assert left_out(parsed) == ""


def test_nested_aliases_do_not_unfold(parse):
    """Ten levels of ten aliases are 10 GB when written out."""
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
    assert parse(f"---\na0: &a0 [x]\n{levels}---\nbody\n", MARKDOWN).metadata == {}


def test_escapes_in_front_matter_cannot_make_invalid_text(parse):
    parsed = parse('---\ntitle: "a\\ud800b"\nk: "\\0"\n---\nbody\n', MARKDOWN)
    assert parsed.title == "a\N{REPLACEMENT CHARACTER}b"
    assert parsed.metadata == {"k": "\N{REPLACEMENT CHARACTER}"}


def test_the_title_is_the_first_outermost_heading(parse):
    assert parse("## Small\n\n# Big\n\n# Other\n", MARKDOWN).title == "Big"


def test_a_runaway_heading_does_not_travel_whole_with_every_block(parse):
    parsed = parse("# " + "long " * 20_000 + "\n\nbody\n", MARKDOWN)
    assert len(parsed.blocks[1].heading_path[0]) <= 200
    assert len(parsed.text[parsed.blocks[0].start : parsed.blocks[0].end]) > 90_000


@pytest.mark.parametrize(
    "text", ["> " * 5000 + "x", "- " * 5000 + "x", "[" * 20_000, "# " + "*a **b " * 3000, "`" * 20_000]
)
def test_deep_nesting_is_survived(parse, left_out, text):
    assert left_out(parse(text, MARKDOWN)) == ""


PIECES = st.sampled_from(
    [
        *("# A", "## B **x**", "#", "C\n===", "D\n---", "words", "more words\nwrapped", "- item", "  - nested", "1. n"),
        *(
            "```",
            "~~~ py",
            "    code",
            "\tcode",
            "> quote",
            ">",
            "| a |\n|---|\n| b |",
            "***",
            "[r]: http://x",
            "<div>",
        ),
        *("---", "+++", "title: x", "</div>", "<!-- x", "-->", "", "", "\u00a0", "\x0c", "&amp;", "\\", "===", "a\tb"),
    ]
)


@given(st.lists(PIECES, max_size=25).map("\n".join))
def test_blocks_hold_all_that_is_visible_but_front_matter_and_comments(parse, left_out, has_source_lines, text):
    parsed = parse(text, MARKDOWN)
    assert has_source_lines(parsed)
    rest = left_out(parsed)
    assert rest == "" or rest.startswith(("---", "+++", "<!--"))


def test_rows_that_lack_their_cells_cost_no_more_than_they_hold(parse, blocks):
    """Filled in, these 1.5 MB would be 64 million cells."""
    table = "|a" * 256 + "|\n" + "|-" * 256 + "|\n" + "|\n" * 250
    assert blocks(parse(f"{table}\n" * 1_000, MARKDOWN)) == [("table", table.rstrip())] * 1_000


def test_a_table_goes_on_however_many_cells_its_rows_lack(parse, blocks):
    table = "|a" * 256 + "|\n" + "|-" * 256 + "|\n" + "|\n" * 300 + "| last |"
    assert blocks(parse(table, MARKDOWN)) == [("table", table)]


TABLE_PIECES = st.sampled_from(
    [
        *("| a | b |", "|---|---|", "|:-:|--|", "| c |", "|", "a | b", "- | -", "--|--", "| \\| | b |", "words", "|-|"),
        *("", "  ", "\x0c", "\u2003", "    | a | b |", "  | a | b |", "> | a | b |", "> |---|---|", ">", "- | a | b |"),
        *("  |---|---|", "- item", "1. n", "# A", "***", "```", "<div>", "[r]: http://x", "===", "\t| c |"),
    ]
)


@given(st.lists(TABLE_PIECES, max_size=12).map("\n".join))
def test_tables_begin_and_end_where_markdown_it_has_them(parse, text):
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    maps = [token.map for token in tokens if token.type == "table_open" and token.level == 0]
    found = [block for block in parse(text, MARKDOWN).blocks if block.kind == "table"]
    assert [[block.start_line - 1, block.end_line] for block in found] == maps
