"""Office documents and PDFs: their words under their headings, recognised whatever they are called."""

import io
import zipfile
from datetime import datetime, time, timedelta
from time import process_time as time_used

import pytest

from freshd.errors import ParseError
from freshd.parsers import Parsers
from freshd.parsers.archive import Archive
from freshd.parsers.office_visibility import without_hidden
from tests.parsers.samples import (
    archive,
    docx,
    edited,
    paragraph,
    pdf,
    presentation,
    samples,
    saved,
    word_parts,
    workbook,
)

WORDPROCESSING = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


def test_a_word_document_gives_paragraphs_under_its_headings(parse, blocks, paths):
    parsed = parse(
        docx(
            paragraph("Leave", "Heading1"),
            paragraph("Twenty-eight days."),
            paragraph("Abroad", "Heading2"),
            paragraph("Ask first."),
        )
    )
    assert blocks(parsed) == [
        ("heading", "# Leave"),
        ("paragraph", "Twenty-eight days."),
        ("heading", "## Abroad"),
        ("paragraph", "Ask first."),
    ]
    assert paths(parsed)["Ask first."] == ("Leave", "Abroad")
    assert parsed.title == "Leave"


def test_a_workbook_gives_a_table_for_each_sheet_under_its_name(parse, paths):
    made = workbook([["Room", "Seats"], ["Oslo", 12], [None, None]], "Rooms")
    made.create_sheet("Keys").append(["No", "Who"])
    parsed = parse(saved(made))
    assert paths(parsed)["| Room | Seats |\n| --- | --- |\n| Oslo | 12 |"] == ("Rooms",)
    assert ("Keys",) in paths(parsed).values()
    assert "NaN" not in parsed.text


CELLS = {
    "number as text": ("00123", "00123"),
    "exponent as text": ("1e5", "1e5"),
    "number of many digits": (1234567.891, "1234567.891"),
    "whole number as a fraction": (12.0, "12"),
    "sum of fractions": (0.1 + 0.2, "0.3"),
    "tiny number": (0.00001234, "1.234E-05"),
    "large number": (1e20, "1E+20"),
    "date": (datetime.fromisoformat("2024-05-06"), "2024-05-06"),
    "date and time": (datetime.fromisoformat("2024-05-06 07:08"), "2024-05-06 07:08:00"),
    "time": (time(9, 30), "09:30:00"),
    "duration": (timedelta(hours=26, minutes=3), "26:03:00"),
    "truth": (True, "TRUE"),
    "error": ("#N/A", "#N/A"),
    "line break": ("Open the valve\nClose the pump", "Open the valve Close the pump"),
    "line break of Windows": ("Open_x000D_\nClose", "Open Close"),
    "escape as it is typed": ("_x005F_x0041_", "_x0041_"),
    "bar": ("this | that", r"this \| that"),
    "backslash before a bar": ("a\\|b", r"a\\|b"),
    "markup": ("<b> & ![*x*](y)", "<b> & ![*x*](y)"),
    **{f"the word {word}": (word, word) for word in ("NA", "N/A", "None", "null", "NaN", "Unnamed: 0")},
}


@pytest.mark.parametrize(("value", "seen"), CELLS.values(), ids=CELLS)
def test_a_cell_is_read_as_it_is_seen(parse, blocks, value, seen):
    parsed = parse(saved(workbook([["Key", "Seen"], ["first", value], [value, None]])))
    assert blocks(parsed)[1] == ("table", f"| Key | Seen |\n| --- | --- |\n| first | {seen} |\n| {seen} |  |")


def test_a_column_with_a_gap_keeps_its_numbers_and_heads_of_one_name_keep_it(parse, blocks):
    parsed = parse(saved(workbook([["Dup", "Dup", "Dup"], [1001, None, 1], [1002, 7, None]])))
    assert blocks(parsed)[1][1].splitlines() == [
        *("| Dup | Dup | Dup |", "| --- | --- | --- |"),
        *("| 1001 |  | 1 |", "| 1002 | 7 |  |"),
    ]


def test_rows_and_columns_that_show_nothing_are_left_out(parse, blocks):
    made = workbook([[None, "Room", None, " ", "Seats"], [], [None, "Oslo", None, "", 0]])
    made.create_sheet("Empty")
    assert blocks(parse(saved(made))) == [
        ("heading", "## Plan"),
        ("table", "| Room | Seats |\n| --- | --- |\n| Oslo | 0 |"),
        ("heading", "## Empty"),
    ]


def test_a_formula_is_the_result_that_was_saved_with_it(parse):
    sheet = edited(saved(workbook([["Sum"], ["=1+1"]])), "xl/worksheets/sheet1.xml", b"<v></v>", b"<v>2</v>")
    assert parse(sheet).text.endswith("| Sum |\n| --- |\n| 2 |")


def test_cells_outside_what_a_sheet_claims_to_take_are_read(parse):
    content = saved(workbook([["Room", "Seats"], ["Oslo", 12]]))
    assert "| Oslo | 12 |" in parse(edited(content, "xl/worksheets/sheet1.xml", b'ref="A1:B2"', b'ref="A1"')).text


def test_a_workbook_that_misspells_how_it_shows_zeros_is_read(parse):
    content = edited(
        saved(workbook([["Room"]])), "xl/worksheets/sheet1.xml", b"<sheetView ", b'<sheetView showZeroes="0" '
    )
    assert "| Room |" in parse(content).text


@pytest.mark.filterwarnings("ignore:File contains an invalid specification")
def test_a_workbook_in_another_form_is_refused_and_not_taken_for_an_empty_one(parse):
    """Strict Open XML, which a program has to be asked for; openpyxl finds no sheets there."""
    ours, theirs = b"http://schemas.openxmlformats.org/", b"http://purl.oclc.org/ooxml/"
    with zipfile.ZipFile(io.BytesIO(saved(workbook([["Room"]])))) as packed:
        parts = {name: packed.read(name) for name in packed.namelist()}
    for kind in (b"spreadsheetml", b"officeDocument"):
        parts = {name: part.replace(ours + kind + b"/2006", theirs + kind) for name, part in parts.items()}
    with pytest.raises(ParseError, match="no sheets are found"):
        parse(archive(parts))


def test_a_presentation_gives_the_text_of_each_slide_under_its_title(parse, paths):
    parsed = parse(samples()["plan.pptx"])
    assert paths(parsed)["Ship it"] == ("Goals",)
    assert paths(parsed)["None left"] == ("Risks",)


def test_a_pdf_gives_its_text(parse, blocks):
    assert blocks(parse(samples()["plan.pdf"])) == [
        ("paragraph", "Trains are booked by the office."),
        ("paragraph", "Flights need consent."),
    ]


def test_a_long_pdf_gives_all_its_pages(parse):
    parsed = parse(pdf(*[f"Page number {n}." for n in range(1, 71)]))
    assert [block.kind for block in parsed.blocks] == ["paragraph"] * 70
    assert parsed.text.rstrip().endswith("Page number 70.")


def test_lines_are_those_of_the_extracted_text(parse, has_source_lines):
    for content in samples().values():
        assert has_source_lines(parse(content))


@pytest.mark.parametrize(
    ("content", "title"),
    [
        (docx(paragraph("Heading", "Heading1"), title="Of the properties"), "Of the properties"),
        (docx(paragraph("Heading", "Heading1"), title=" "), "Heading"),
        (docx(paragraph("words")), "From the source"),
        (pdf("words", title="Travel 旅"), "Travel 旅"),
        (pdf("words"), "From the source"),
    ],
    ids=["properties", "first heading", "source", "pdf", "pdf without"],
)
def test_the_title_is_that_of_the_properties_else_of_the_first_heading_else_of_the_source(parse, content, title):
    assert parse(content, title="From the source").title == title


@pytest.mark.parametrize("name", list(samples()))
@pytest.mark.parametrize(
    ("media_type", "called"),
    [(None, ""), (None, "notes.txt"), (None, "README"), ("text/plain", "a.md"), ("application/octet-stream", "a")],
)
def test_the_bytes_tell_whatever_it_is_called(parse, name, media_type, called):
    assert parse(samples()[name], media_type, document_id=called or name).blocks


def test_a_declared_type_that_the_bytes_do_not_bear_out_is_named(parse):
    with pytest.raises(ParseError, match=r"not an office document, expected a zip archive") as refused:
        parse("words", WORDPROCESSING)
    assert "media_types" in refused.value.hint
    with pytest.raises(ParseError, match=r"not PDF, expected bytes that begin with %PDF-"):
        parse("words", document_id="scan.pdf")


@pytest.mark.parametrize("before", [b"\r\n", b"\xef\xbb\xbf", b"\n  "])
def test_a_pdf_is_known_behind_what_servers_put_before_it(parse, before):
    assert parse(before + samples()["plan.pdf"]).blocks


BAD = {
    "pdf with password": (pdf("secret", password="pw"), "got an encrypted PDF, expected one without password"),
    "scan": (pdf("", ""), "got a PDF without text, as scans are"),
    "pdf without pages": (b"%PDF-1.7\n%%EOF", "got a PDF that cannot be read"),
    "pdf cut short": (samples()["plan.pdf"][:300], "got a PDF that cannot be read"),
    "pdf of noise": (b"%PDF-1.7\n" + bytes(range(256)) * 40, "got a PDF that cannot be read"),
    "docx cut short": (samples()["plan.docx"][:900], "got a damaged archive"),
    "docx with damaged part": (
        samples()["plan.docx"].replace(b"word/document.xml", b"word/document.xmx", 1),
        "got a damaged archive",
    ),
    "docx without main part": (
        archive({name: part for name, part in word_parts().items() if "document.xml" not in name}),
        "Word document that cannot be read",
    ),
    "docx of broken XML": (
        archive({**word_parts(), "word/document.xml": "<w:document"}),
        "XML that cannot be parsed",
    ),
    "xlsx of broken XML": (
        archive({"[Content_Types].xml": "<Types/>", "xl/workbook.xml": "<workbook"}),
        "Excel workbook that cannot be read",
    ),
    "pptx of broken XML": (
        archive({"[Content_Types].xml": "<Types/>", "ppt/presentation.xml": "<p"}),
        "PowerPoint presentation that cannot be read",
    ),
    "archive of another kind": (archive({"[Content_Types].xml": "", "visio/document.xml": ""}), "unknown kind"),
    "zip": (archive({"a.txt": "text"}), "got a zip archive"),
    "docx with password": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000) + "EncryptedPackage".encode("utf-16-le") + bytes(1000),
        "an office document with a password",
    ),
    "doc of old": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(1000), "an office document of an old format"),
}


@pytest.mark.parametrize(("content", "reason"), BAD.values(), ids=BAD)
def test_a_bad_document_is_refused_with_a_reason_and_what_mends_it(parse, content, reason):
    with pytest.raises(ParseError, match=reason) as refused:
        parse(content, document_id="bad.docx")
    assert str(refused.value).startswith("document 'bad.docx': ")
    assert refused.value.hint
    assert "UTF-16" not in refused.value.hint
    assert not refused.value.retryable


def test_an_office_document_without_text_is_an_empty_document(parse):
    assert parse(docx()).blocks == ()


def test_names_in_code_stay_as_they_are_written(parse):
    assert "snake_case and *stars*" in parse(docx(paragraph("snake_case and *stars*"))).text


def test_the_identity_names_what_reads_office_documents():
    for library in ("markitdown", "pdfminer.six", "mammoth", "openpyxl", "python-pptx"):
        assert f"{library}-" in Parsers.identity


# What nobody is shown


def hidden_in_word() -> bytes:
    return docx(
        paragraph("shown"),
        paragraph("X", run="<w:vanish/>"),
        paragraph("shown", run='<w:vanish w:val="0"/>'),
        paragraph("X", run='<w:rStyle w:val="Secret"/>'),
        paragraph("X", run='<w:rStyle w:val="Derived"/>'),
        paragraph("X", "Hidden"),
        paragraph("shown", "Hidden", '<w:vanish w:val="false"/>'),
        paragraph("X", run='<w:sz w:val="1"/>'),
        paragraph("shown", run='<w:sz w:val="22"/>'),
    )


def test_a_paragraph_of_very_many_runs_takes_as_long_as_many_paragraphs_of_them():
    """As programs write that turn a PDF into Word; of 16,000, it took all the time that a document is given."""

    def seconds(n_paragraphs: int) -> float:
        runs = "<w:r><w:t>word </w:t></w:r>" * (8_000 // n_paragraphs)
        opened = Archive(docx(f"<w:p>{runs}</w:p>" * n_paragraphs))
        sources = dict(opened.xml_parts())
        began_s = time_used()
        assert without_hidden(opened, sources)["word/document.xml"].count(b"word ") == 8_000
        return time_used() - began_s

    assert min(seconds(1) for _ in range(3)) < 6 * min(seconds(80) for _ in range(3))


def hidden_in_excel() -> bytes:
    made = workbook([["shown", "X", "shown"], ["X", "X", "X"], ["shown", "X", None]])
    sheet = made["Plan"]
    sheet.row_dimensions[2].hidden = True
    sheet.column_dimensions["B"].hidden = True
    for state in ("hidden", "veryHidden"):
        made.create_sheet(f"{state} X").append(["X"])
        made[f"{state} X"].sheet_state = state
    made.create_sheet("more").append(["shown"])
    return saved(made)


def hidden_in_powerpoint() -> bytes:
    made = presentation(("shown", "shown"), ("X", "X"), ("shown", "X"))
    made.slides[1]._element.set("show", "0")
    made.slides[1].notes_slide.notes_text_frame.text = "X"
    made.slides[2].shapes[1]._element.nvSpPr.cNvPr.set("hidden", "1")
    return saved(made)


@pytest.mark.parametrize(
    ("make", "n_shown"),
    [(hidden_in_word, 4), (hidden_in_excel, 4), (hidden_in_powerpoint, 3)],
    ids=["Word", "Excel", "PowerPoint"],
)
def test_what_an_office_program_hides_is_left_out_and_all_else_stays(parse, make, n_shown):
    text = parse(make()).text
    assert "X" not in text
    assert text.count("shown") == n_shown


HIDDEN_CHARACTERS = {
    "zero width space": "\u200b",
    "word joiner": "\u2060",
    "byte order mark": "\ufeff",
    "right-to-left override": "\u202e",
    "isolate": "\u2066",
    "tag": "\U000e0041",
    "soft hyphen": "\u00ad",
    "variation selectors": "\U000e0101\U000e0102\U000e0103",
    "stray joiner": "\u200d",
}


@pytest.mark.parametrize("hidden", HIDDEN_CHARACTERS.values(), ids=HIDDEN_CHARACTERS)
@pytest.mark.parametrize("name", ["a.md", "a.rst", "a.txt", "a.py", "a.html", "a.docx"])
def test_characters_that_show_nothing_stand_in_no_text(parse, name, hidden):
    seen = f"be{hidden}fore\n\nThe af{hidden}ter"
    content = docx(paragraph(seen)) if name == "a.docx" else seen.encode()
    text = parse(content, document_id=name).text
    assert hidden not in text
    assert "before" in text
    assert "The after" in text


def test_lines_stay_those_of_the_source_when_characters_are_left_out(parse):
    parsed = parse("one\n\n\u200b\n\u202etwo\u200b\n", document_id="a.md")
    assert [(block.start_line, parsed.text[block.start : block.end]) for block in parsed.blocks] == [
        (1, "one"),
        (4, "two"),
    ]


@pytest.mark.parametrize("kept", ["👩\u200d💻", "می\u200cخواهم", "क्\u200dष", "❤\ufe0f"])
def test_joiners_and_selectors_that_scripts_and_pictures_need_stay(parse, kept):
    assert kept in parse(kept, "text/plain").text
