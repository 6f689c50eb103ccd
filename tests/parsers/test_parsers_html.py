"""HTML: what a reader sees, and nothing that only a machine would read."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.errors import ParseError

HTML = "text/html"


def test_headings_paragraphs_and_code(parse, blocks, paths):
    page = (
        "<title>Page</title><h1>Top <em>title</em></h1><p>One\n  two <b>three</b>.</p>"
        "<h2>Sub</h2><p>a<br>b</p><pre>  x\n\n    y  \n</pre><blockquote>q</blockquote><h2>Next</h2>loose"
    )
    parsed = parse(page, HTML)
    assert blocks(parsed) == [
        ("heading", "Top title"),
        ("paragraph", "One two three."),
        ("heading", "Sub"),
        ("paragraph", "a\nb"),
        ("code", "  x\n\n    y"),
        ("paragraph", "q"),
        ("heading", "Next"),
        ("paragraph", "loose"),
    ]
    assert paths(parsed)["q"] == ("Top title", "Sub")
    assert paths(parsed)["loose"] == ("Top title", "Next")
    assert parsed.title == "Page"


def test_the_text_is_the_blocks_joined_by_blank_lines(parse):
    assert parse("<h1>A</h1><p>b</p><ul><li>c<li>d</ul><p>e", HTML).text == "A\n\nb\n\n- c\n- d\n\ne"


def test_lists_nest_within_their_items(parse, blocks):
    page = "<ul><li>one<li><p>two</p><p>more</p><ol><li>a</li><li>b</li></ol>tail</li><li> </li></ul>"
    assert blocks(parse(page, HTML)) == [("list", "- one"), ("list", "- two\n  more\n  1. a\n  2. b\n  tail")]


NUMBERED = {
    "from one": ("<ol><li>a<li>b</ol>", "1. a\n2. b"),
    "from a start": ("<ol start=' 7th'><li>a<li>b</ol>", "7. a\n8. b"),
    "from below nothing": ("<ol start=-1><li>a<li>b</ol>", "-1. a\n0. b"),
    "with numbers of their own": ("<ol><li>a<li value=5>b<li>c<li value=x>d</ol>", "1. a\n5. b\n6. c\n7. d"),
    "backwards": ("<ol reversed><li>a<li>b<li value=9>c<li>d</ol>", "4. a\n3. b\n9. c\n8. d"),
    "backwards from a start": ("<ol reversed start=2><li>a<li>b<li>c</ol>", "2. a\n1. b\n0. c"),
    "nonsense": ("<ol start=many><li>a</ol>", "1. a"),
    "beyond reason": (f"<ol start={'9' * 5_000}><li value=99999999999>a</ol>", "1. a"),
    "bullets": ("<ul start=3><li value=5>a</ul>", "- a"),
    "nested": ("<ol start=3><li>a<ol start=8><li>b</ol><li>c</ol>", "3. a\n  8. b\n4. c"),
    "some hidden": ("<ol><li>a<li hidden>X<li>c</ol>", "1. a\n2. c"),
    "one that arranges the page": ("<ol><li>a</li><li><h3>H</h3>b</li><li>c</li></ol>", "1. a\n\nH\n\nb\n\n3. c"),
}


@pytest.mark.parametrize(("page", "text"), NUMBERED.values(), ids=NUMBERED)
def test_items_are_numbered_as_browsers_show_them(parse, page, text):
    assert parse(page, HTML).text == text


def test_rows_are_lines_and_cells_stand_apart(parse, blocks):
    page = (
        "<table><caption>Cap</caption><thead><tr><th>A</th>\n <th>B</th></tr></thead>\n<tbody>"
        "<tr><td>1</td><td></td><td>3</td></tr><tr><td></td></tr><tr><td><p>x</p><p>y</p></td><td>z</td></tr></table>"
    )
    assert blocks(parse(page, HTML)) == [("table", "Cap\nA | B\n1 |  | 3\nx y | z")]


@pytest.mark.parametrize("inner", ["<h2>H</h2><p>p</p>", "<pre>code</pre>", "<table><tr><td>in</table>"])
def test_a_table_that_arranges_the_page_is_no_table(parse, inner):
    parsed = parse(f"<table><tr><td>{inner}</td><td>side</td></tr></table>", HTML)
    assert len(parsed.blocks) > 1


def test_definitions_stay_with_their_terms(parse, blocks):
    page = "<dl><dt>f(x)<dd><p>Does f.</p><p>More.</p><dt>g<dd>Does g.</dl>"
    assert blocks(parse(page, HTML)) == [("list", "f(x)\n  Does f."), ("paragraph", "More."), ("list", "g\n  Does g.")]


def test_permalinks_of_headings_are_no_part_of_the_title(parse):
    assert parse('<h1>Title<a class="headerlink" href="#t">¶</a></h1>', HTML).title == "Title"


def test_lines_are_those_of_the_source(parse):
    page = "<!doctype html>\n<body\n class=x>\n<h1>A</h1>\n\n<p>b\nc</p><!-- 1\n2 -->loose\n<script>\n\n</script>\n<p>d"
    parsed = parse(page.replace("\n", "\r\n"), HTML)
    assert [(block.start_line, block.end_line) for block in parsed.blocks] == [(4, 4), (6, 7), (8, 8), (12, 12)]


def test_lines_are_counted_on_where_the_library_stops(parse):
    """libxml2 keeps line numbers in 16 bits."""
    page = "<body>" + "\n" * 70_000 + "<p>far</p>\n<p>below</p>"
    assert [block.start_line for block in parse(page, HTML).blocks] == [70_001, 70_002]


HIDDEN = {
    "script": "<script>X</script>",
    "style": "<style>X{}</style>",
    "template": "<template><p>X</p></template>",
    "noscript": "<noscript>X</noscript>",
    "nav": "<nav>X</nav>",
    "navigation role": "<div role=navigation>X</div>",
    "comment": "<!-- X -->",
    "processing instruction": "<?php X ?>",
    "hidden": "<p hidden>X</p>",
    "hidden parent": "<div hidden><p>X<b>X</b></p></div>",
    "aria-hidden": "<p aria-hidden='TRUE'>X</p>",
    "display none": "<p style='display:none'>X</p>",
    "display none, odd spelling": "<p style='color:red; DISPLAY : None !important'>X</p>",
    "display none, comment within": "<p style='dis/**/play:none'>X</p>",
    "visible child of display none": "<div style='display:none'><p style='display:block'>X</p></div>",
    "visibility": "<p style='visibility:hidden'>X</p>",
    "opacity": "<p style='opacity:0'>X</p>",
    "opacity in percent": "<p style='opacity: 1%'>X</p>",
    "font size": "<p style='font-size:0'>X</p>",
    "font size of a pixel": "<span style='font-size: 1px'>X</span>",
    "font shorthand": "<p style='font: 0/0 a'>X</p>",
    "share of no font size": "<p style='font-size:0'><b style='font-size:2em'>X</b></p>",
    "off screen": "<p style='position:absolute; left:-9999px'>X</p>",
    "off screen, far in em": "<p style='position:fixed; top:-200em'>X</p>",
    "text indent": "<p style='text-indent:-9999px'>X</p>",
    "clip": "<p style='position:absolute;clip:rect(0,0,0,0)'>X</p>",
    "clip path": "<p style='clip-path: inset(100%)'>X</p>",
    "squeezed": "<p style='height:0;overflow:hidden'>X</p>",
    "squeezed in width": "<p style='max-width:0;overflow:hidden'>X</p>",
    "squeezed in width, cut off": "<p style='overflow:hidden;width:0;white-space:nowrap;text-overflow:clip'>X</p>",
    "squeezed in width, with an ellipsis": "<p style='max-width:0;overflow:hidden;text-overflow:ellipsis'>X</p>",
    "squeezed, and not flexible": "<p style='overflow:hidden;width:1px;flex:none'>X</p>",
    "squeezed, and growing by nothing": "<p style='overflow:hidden;width:0;flex-grow:0'>X</p>",
    "squeezed, and flexible by nothing": "<p style='overflow:hidden;max-width:0;flex:0 0 auto'>X</p>",
    "squeezed in height, with an ellipsis": "<p style='max-height:0;overflow:hidden;text-overflow:ellipsis'>X</p>",
    "moved": "<p style='transform: translateX(-9999px)'>X</p>",
    "same colour": "<p style='color:#fff;background-color:white'>X</p>",
    "same colour, as numbers": "<p style='color: rgb(0, 0, 0); background: #000 none'>X</p>",
    "no colour": "<p style='color:transparent'>X</p>",
    "class of the page": "<p class='a gone'>X</p>",
    "id of the page": "<p id=lost>X</p>",
    "element of the page": "<x-trap>X</x-trap>",
    "closed dialog": "<dialog>X</dialog>",
    "choices": "<select><option>X</select>",
    "frame": "<iframe>X</iframe>",
    "media": "<video>X</video>",
    "drawing's title": "<svg><title>X</title></svg>",
}
SHEET = "<style>.gone, #lost {display:none} x-trap{ display : none; } .tab{display:none} .tab.on{display:block}</style>"


@pytest.mark.parametrize("markup", HIDDEN.values(), ids=HIDDEN)
def test_hidden_text_is_left_out_and_its_neighbours_are_not(parse, markup):
    marker = "ignorethis"
    page = f"<head>{SHEET}</head><body><p>before</p>{markup.replace('X', marker)}<p>after</p>tail"
    parsed = parse(page, HTML)
    assert marker not in parsed.text
    assert parsed.text.split() == ["before", "after", "tail"]


SHOWN = {
    "child made visible again": "<div style='visibility:hidden'><p style='visibility:visible'>X</p></div>",
    "child with a font size": "<div style='font-size:0'><span style='font-size:16px'>X</span></div>",
    "child with another colour": "<div style='color:#000;background:#000'><b style='color:#fff'>X</b></div>",
    "colours that differ": "<p style='color:#111;background:white'>X</p>",
    "gradient text": "<p style='color:transparent;-webkit-background-clip:text'>X</p>",
    "a little to the left": "<p style='position:absolute;left:-10px'>X</p>",
    "half transparent": "<p style='opacity:.5'>X</p>",
    "overflow with a height": "<p style='height:10em;overflow:hidden'>X</p>",
    "cell cut with an ellipsis": (
        "<table><tr><td style='max-width:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap'>X</table>"
    ),
    "cell as wide as its column": "<table><tr><td style='max-width:0;overflow:hidden'>X</table>",
    "flexible box": "<div style='display:flex'><div style='width:0;flex-grow:1;overflow:hidden'>X</div></div>",
    "flexible box, in short": "<div style='display:flex'><div style='width:0;flex:1;overflow:hidden'>X</div></div>",
    "rule for print alone": "<p class=printonly>X</p>",
    "rule overridden by a stronger one": "<p class='tab on'>X</p>",
    "rule overridden by the element": "<p class=gone style='display:block'>X</p>",
    "open dialog": "<dialog open>X</dialog>",
    "footer": "<footer>X</footer>",
    "aria-hidden false": "<p aria-hidden=false>X</p>",
    "unknown element": "<made-up>X</made-up>",
    "button": "<button>X</button>",
    "details": "<details><summary>X</summary></details>",
}


@pytest.mark.parametrize("markup", SHOWN.values(), ids=SHOWN)
def test_visible_text_is_kept(parse, markup):
    sheet = SHEET + "<style>@media print { .printonly { display: none } .z{} }</style>"
    sheet += "<style media=print>.printonly{display:none}</style>"
    assert "seenbyall" in parse(sheet + markup.replace("X", "seenbyall"), HTML).text


@pytest.mark.parametrize(
    "page",
    [
        "<style>body { display: none !important }</style><script>show()</script><body><p>words",
        "<html class=no-script><style>.no-script { display: none }</style><p>words",
        "<body style='opacity:0'><p>words",
        "<html hidden><body><p>words",
        "<body aria-hidden=true><p>words",
    ],
)
def test_a_page_that_waits_for_its_script_to_show_it_is_read(parse, page):
    """Against flicker, and against frames of others; who hides a text shows another one beside it."""
    assert parse(page, HTML).text == "words"
    assert parse("<body style='visibility:hidden'>X<p style='visibility:visible'>words", HTML).text == "words"


def test_a_style_takes_as_long_as_it_is_long(parse):
    """400 KB of such numbers took eight seconds, and a megabyte all that a page is given."""

    def seconds(n_styles: int) -> float:
        number = f"<p style='overflow:hidden;width:9px;flex-grow:{'1' * (390_000 // n_styles)}x'>words"
        began_s = time.process_time()
        assert parse(number * n_styles, HTML).text.split() == ["words"] * n_styles
        return time.process_time() - began_s

    assert min(seconds(100) for _ in range(3)) < 4 * min(seconds(1_000) for _ in range(3))


@pytest.mark.parametrize("element", ["main", "article", "section", "header", "footer", "aside", "made-up"])
def test_a_page_that_leaves_out_its_body_tag_is_read(parse, element):
    """HTML5 allows it, and libxml2 does not know these elements, so it keeps them in the head."""
    parsed = parse(f"<!doctype html><title>T</title><style>p{{}}</style><{element}><p>words</p></{element}>", HTML)
    assert parsed.text == "words"
    assert parsed.title == "T"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<div>a</div></html><div>b</div></html>\n<div>c</div>", "a\n\nb\n\nc"),
        ("<p>a</p></body></html>more <b>text</b>", "a\n\nmore text"),
        ("<head></head></html><p>a", "a"),
        (f"{'<p>a</p></html>' * 5_000}", "\n\n".join("a" * 5_000)),
    ],
    ids=["several ends", "text alone", "no body", "many ends"],
)
def test_what_follows_the_end_of_a_page_is_read_as_browsers_show_it(parse, page, text):
    assert parse(page, HTML).text == text


def test_what_follows_the_end_of_a_page_is_read_by_the_rules_of_the_whole_page(parse):
    page = "<p>a</p></html>\n<title>T</title><style>.gone{display:none}</style><p class=gone>X</p>\n<p>b</p>"
    parsed = parse(page, HTML)
    assert parsed.title == "T"
    assert [(parsed.text[b.start : b.end], b.start_line) for b in parsed.blocks] == [("a", 1), ("b", 3)]


def test_characters_that_show_nothing_are_left_out(parse):
    tags = "".join(chr(0xE0000 + ord(letter)) for letter in "ignore")
    parsed = parse(f"<p>a\u200bb\u202ec\u2066d\ufeff{tags}e\u00adf\u200d\u200c\u200dg\x01</p>", HTML)
    assert parsed.text == "abcdefg"


def test_a_block_of_nothing_but_such_characters_is_none(parse):
    assert parse("<ul><li>\u200b</li></ul><p>\u202e</p><h1>\u00ad</h1>", HTML).blocks == ()


def test_joiners_stay_where_a_script_needs_them(parse):
    persian = "می\u200cروم"
    assert parse(f"<p>{persian}</p>", HTML).text == persian


@pytest.mark.parametrize("page", ["", " ", "<!-- only -->", "<html></html>", "<?xml version='1.0'?>", "<"])
def test_a_page_without_content_is_empty_or_what_it_shows(parse, page):
    assert parse(page, HTML).text in ("", "<")


def test_a_page_in_another_encoding_says_so_itself(parse):
    page = '<?xml version="1.0" encoding="koi8-r"?><html><meta charset="koi8-r"><p>привет</p></html>'
    assert parse(page.encode("koi8-r"), "application/xhtml+xml").text == "привет"


def test_entities_of_a_document_type_are_not_resolved(parse, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("topsecret")
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    page = f'<!DOCTYPE html [<!ENTITY l0 "ha">{laughs}<!ENTITY x SYSTEM "{secret.as_uri()}">]><p>&l9;&x;</p>'
    parsed = parse(page, HTML)
    assert "topsecret" not in parsed.text
    assert len(parsed.text) < 2000


@pytest.mark.parametrize("tag", ["div", "b", "ul><li", "table><tr><td", "blockquote", "font"])
def test_nesting_without_end_is_refused_not_cut_short(parse, tag):
    """libxml2 would silently drop the rest of the page."""
    with pytest.raises(ParseError, match="nested") as refused:
        parse(f"<{tag}>" * 10_000 + "deep", HTML)
    assert refused.value.hint


def test_deep_but_finite_nesting_is_read(parse):
    assert parse("<div>" * 1500 + "deep", HTML).text == "deep"


def test_a_hostile_stylesheet_costs_little(parse):
    rules = "".join(f".x.y{n}{{display:none}}" for n in range(20_000)) + "a{" * 50_000 + "/*" * 50_000
    assert parse(f"<style>{rules}</style>" + "<p class=x>seen" * 1000, HTML).text.count("seen") == 1000


PIECES = st.sampled_from(
    [
        *("<p>", "</p>", "<div>", "</div>", "<h1>", "</h1>", "<h3>", "<ul>", "</ul>", "<ol>", "<li>", "</li>", "<br>"),
        *("<table>", "</table>", "<tr>", "<td>", "<th>", "<pre>", "</pre>", "<dl>", "<dt>", "<dd>", "<b>", "</b>"),
        *("<p hidden>", "<div style='display:none'>", "<script>", "</script>", "<!--", "-->", "<svg>", "<a>#</a>"),
        *("word", " ", "\n", "two words", "&amp;", "&#0;", "&nbsp;", "é", "\u200b", "<", "&", "<title>", "</title>"),
    ]
)


@given(st.lists(PIECES, max_size=40).map("".join))
def test_all_rendered_text_lies_in_blocks(parse, left_out, page):
    parsed = parse(page, HTML)
    assert left_out(parsed) == ""
    assert all(block.end_line <= page.count("\n") + 1 for block in parsed.blocks)


@given(
    st.lists(
        st.sampled_from(["<p>", "<div>", "<h2>", "<li>", "<td>", "<pre>", "<b>", "</b>", "<br>", "<dd>"]), max_size=20
    )
)
def test_no_markup_loses_a_word(parse, tags):
    words = [f"w{number}." for number in range(len(tags))]
    page = "".join(tag + word for tag, word in zip(tags, words, strict=True))
    assert [word for word in words if word not in parse(page, HTML).text] == []
