"""Office documents and PDFs made on the spot, good ones and bad ones."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from functools import cache

from fpdf import FPDF
from openpyxl import Workbook
from pptx import Presentation

WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_OFFICE = "application/vnd.openxmlformats-officedocument"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"

TYPES = (
    f'<?xml version="1.0" encoding="UTF-8"?><Types xmlns="{_PACKAGE}/content-types">'
    f'<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Default Extension="xml" ContentType="application/xml"/>'
    f'<Override PartName="/word/document.xml" ContentType="{_OFFICE}.wordprocessingml.document.main+xml"/>'
    f'<Override PartName="/word/styles.xml" ContentType="{_OFFICE}.wordprocessingml.styles+xml"/></Types>'
)
ROOT_RELATIONS = (
    f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_RELATIONS}/officeDocument" Target="word/document.xml"/></Relationships>'
)
DOCUMENT_RELATIONS = (
    f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_RELATIONS}/styles" Target="styles.xml"/></Relationships>'
)
STYLES = (
    f'<w:styles {WORD}><w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/></w:style>'
    f'<w:style w:type="paragraph" w:styleId="Heading2"><w:name w:val="heading 2"/></w:style>'
    f'<w:style w:type="character" w:styleId="Secret"><w:name w:val="Secret"/><w:rPr><w:vanish/></w:rPr></w:style>'
    f'<w:style w:type="character" w:styleId="Derived"><w:name w:val="Derived"/><w:basedOn w:val="Secret"/></w:style>'
    f'<w:style w:type="paragraph" w:styleId="Hidden"><w:name w:val="Hidden"/><w:rPr><w:vanish/></w:rPr></w:style>'
    f"</w:styles>"
)


def archive(parts: Mapping[str, str | bytes]) -> bytes:
    """Pack parts into a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, source in parts.items():
            packed.writestr(zipfile.ZipInfo(name), source, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def paragraph(text: str, style: str = "", run: str = "") -> str:
    """One paragraph of Word, in a style, its run with properties."""
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{properties}<w:r><w:rPr>{run}</w:rPr><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'


def word_parts(*body: str) -> dict[str, str | bytes]:
    """The parts of a Word document."""
    return {
        "[Content_Types].xml": TYPES,
        "_rels/.rels": ROOT_RELATIONS,
        "word/document.xml": f"<w:document {WORD}><w:body>{''.join(body)}</w:body></w:document>",
        "word/_rels/document.xml.rels": DOCUMENT_RELATIONS,
        "word/styles.xml": STYLES,
    }


def core(title: str) -> dict[str, str | bytes]:
    """The part that holds a document's properties."""
    return {
        "docProps/core.xml": f'<cp:coreProperties xmlns:cp="{_PACKAGE}/metadata/core-properties"'
        f' xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></cp:coreProperties>'
    }


def docx(*body: str, title: str = "") -> bytes:
    """A Word document."""
    return archive({**word_parts(*body), **(core(title) if title else {})})


def workbook(rows: Sequence[Sequence[object]], name: str = "Plan") -> Workbook:
    """A workbook of one sheet."""
    made = Workbook()
    sheet = made.active
    assert sheet is not None
    sheet.title = name
    for row in rows:
        sheet.append(list(row))
    return made


def saved(document: object) -> bytes:
    """What openpyxl or python-pptx save."""
    buffer = io.BytesIO()
    document.save(buffer)  # type: ignore[attr-defined]
    return buffer.getvalue()


def edited(content: bytes, name: str, before: bytes, after: bytes) -> bytes:
    """A document with other words in one of its parts."""
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        parts: dict[str, str | bytes] = {part: packed.read(part) for part in packed.namelist()}
    source = parts[name]
    assert isinstance(source, bytes)
    assert before in source
    return archive({**parts, name: source.replace(before, after)})


def presentation(*slides: tuple[str, str]) -> object:
    """Slides of a title and a text each."""
    made = Presentation()
    for title, text in slides:
        slide = made.slides.add_slide(made.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = text
    return made


def pdf(*pages: str, title: str = "", password: str = "") -> bytes:
    """A PDF with a page for each text; an empty text is an empty page."""
    made = FPDF()
    made.set_font("Helvetica", size=12)
    if title:
        made.set_title(title)
    if password:
        made.set_encryption(owner_password=password, user_password=password)
    for text in pages:
        made.add_page()
        if text:
            made.multi_cell(0, 8, text)
    return bytes(made.output())


@cache
def samples() -> Mapping[str, bytes]:
    """One good document of each kind that is not text, by name."""
    return {
        "plan.docx": docx(paragraph("Leave", "Heading1"), paragraph("Twenty-eight days."), title="The handbook"),
        "plan.xlsx": saved(workbook([["Room", "Seats"], ["Oslo", 12], ["Rome", 8]])),
        "plan.pptx": saved(presentation(("Goals", "Ship it"), ("Risks", "None left"))),
        "plan.pdf": pdf("Trains are booked by the office.", "Flights need consent.", title="Travel"),
    }
