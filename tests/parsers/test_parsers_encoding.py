"""Bytes to text, whatever the bytes are."""

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freshd.parsers.encoding import decode
from freshd.parsers.unseen import without_hidden_characters
from tests.parsers import prose

RUSSIAN = "Съешь же ещё этих мягких французских булок, да выпей чаю."
FRENCH = "Les élèves étaient déjà rentrés chez eux après la fête, où ils avaient chanté."
JAPANESE = "これは文字コードの判定を試すための文章です。日本語のテキストです。"


@pytest.mark.parametrize(
    ("content", "declared", "text"),
    [
        (FRENCH.encode("latin-1"), "ISO-8859-1", FRENCH),
        (b"\x93quoted\x94", "latin-1", "“quoted”"),  # as browsers read that label
        (RUSSIAN.encode("koi8-r"), "koi8-r", RUSSIAN),
        (RUSSIAN.encode("koi8-r"), ' "KOI8-R" ', RUSSIAN),
        ("naïve".encode("utf-16-le"), "utf-16-le", "naïve"),
        ("中文".encode("gb18030"), "gb2312", "中文"),
    ],
)
def test_a_declared_charset_that_fits_is_believed(content, declared, text):
    assert decode(content, declared) == text


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-32-le", codecs.BOM_UTF32_LE),
        ("utf-32-be", codecs.BOM_UTF32_BE),
    ],
)
@pytest.mark.parametrize("declared", [None, "latin-1", "utf-8"])
def test_a_byte_order_mark_proves_the_encoding_and_is_dropped(encoding, mark, declared):
    """Also against a declared charset, as the Encoding Standard has it: Latin-1 reads any bytes at all."""
    assert decode(mark + "naïve 中".encode(encoding), declared) == "naïve 中"


@pytest.mark.parametrize(
    "declared", ["ascii", "utf-8", "no-such-charset", "zlib", "rot13", "utf-7", "idna", "x\0y", ""]
)
def test_a_declared_charset_that_does_not_fit_is_passed_over(declared):
    assert decode("naïve +2AA-".encode(), declared) == "naïve +2AA-"


def test_html_may_declare_its_charset_itself():
    page = '<html><head><meta charset="koi8-r"></head>' + RUSSIAN
    assert RUSSIAN in decode(page.encode("koi8-r"), is_html=True)
    assert RUSSIAN not in decode(page.encode("koi8-r"), "latin-1", is_html=True)


def test_a_meta_charset_of_two_byte_units_is_not_believed():
    """The declaration could be read byte by byte, so it cannot be true."""
    assert "naïve" in decode('<meta charset="utf-16">naïve'.encode(), is_html=True)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(RUSSIAN, "cp1251"), (JAPANESE, "shift_jis"), (FRENCH, "cp1252"), ("naïve", "latin-1"), ("Straße", "cp1252")],
)
def test_an_undeclared_legacy_charset_is_guessed(text, encoding):
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("language", "encoding"),
    [
        *((language, "cp1252") for language in ("FINNISH", "ICELANDIC", "ESTONIAN", "SWEDISH", "DANISH", "NORWEGIAN")),
        *((language, "cp1252") for language in ("DUTCH", "GERMAN", "FRENCH", "SPANISH", "PORTUGUESE", "ITALIAN")),
        *((language, encoding) for language in ("POLISH", "CZECH") for encoding in ("cp1250", "cp852")),
        *(("RUSSIAN", encoding) for encoding in ("cp1251", "koi8-r", "cp866", "mac_cyrillic")),
        *(("HEBREW", "cp1255"), ("JAPANESE", "shift_jis"), ("JAPANESE", "euc_jp")),
        *(("CHINESE", "gb18030"), ("KOREAN", "euc_kr")),
    ],
)
def test_prose_is_read_in_the_charset_its_country_wrote(language, encoding):
    text = getattr(prose, language)
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("休暇は20日です。", "cp932"), ("每年有20天假期。", "big5"), ("회의는 월요일입니다.", "cp949")],
)
def test_a_line_of_the_east_is_not_taken_for_units_of_two_bytes(text, encoding):
    """Digits of one byte would have become letters together with what stands beside them."""
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize(
    "text",
    [
        "Það er gott að búa á Íslandi. Veðrið er oft slæmt en fólkið er gott.",
        "Täna on väga ilus päev ja me läheme õue. Õhtul sööme süüa.",
    ],
)
def test_a_few_words_are_read_as_western_rather_than_as_something_rare(text):
    assert decode(text.encode("cp1252")) == text


def test_one_broken_byte_does_not_turn_utf8_into_something_else():
    assert decode("déjà vu, ça va ".encode() + b"\xff" + " été".encode()) == "déjà vu, ça va � été"


def test_text_cut_within_a_character_loses_only_that_character():
    assert decode("déjà vu été".encode()[:-1]) == "déjà vu ét�"


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_every_line_ending_becomes_one_line_feed(newline):
    assert decode(newline.join(["a", "", "b", ""]).encode()) == "a\n\nb\n"


def test_characters_are_not_composed():
    """An accent on its own stays on its own, so that spans are those of the source."""
    assert decode("e\u0301".encode()) == "e\u0301"


@given(
    st.binary(max_size=300),
    st.none() | st.sampled_from(["utf-8", "utf-16", "utf-32", "latin-1", "cp1252", "shift_jis", "utf-7"]),
    st.booleans(),
)
def test_any_bytes_give_valid_text_without_nul_or_carriage_return(content, declared, is_html):
    text = decode(content, declared, is_html=is_html)
    text.encode()
    assert "\0" not in text
    assert "\r" not in text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff")))
def test_utf8_comes_out_as_it_went_in_but_for_what_hides(text):
    assert decode(text.encode()) == without_hidden_characters(text)
