"""The seal by which ledger and index know that they were last used together."""

import os
import stat
from pathlib import Path

from freshd.ledger import seal
from tests.ledger.books import Books, opened


def test_ledger_and_index_fit_before_either_has_a_seal(books: Books, tmp_path: Path):
    assert seal.fits(books.database, tmp_path / "index" / "seal")


def test_a_seal_fits_until_one_of_the_two_is_exchanged(books: Books, tmp_path: Path):
    path = tmp_path / "index" / "seal"
    seal.renew(books.database, path)
    assert seal.fits(books.database, path)
    former = path.read_bytes()
    seal.renew(books.database, path)
    assert seal.fits(books.database, path)
    assert path.read_bytes() != former
    path.write_bytes(former)
    assert not seal.fits(books.database, path)
    path.unlink()
    assert not seal.fits(books.database, path), "an index without a seal is not the one that was used"


def test_a_new_ledger_does_not_fit_a_sealed_index(books: Books, tmp_path: Path):
    path = tmp_path / "index" / "seal"
    seal.renew(books.database, path)
    with opened(tmp_path / "other.db") as other:
        assert not seal.fits(other.database, path)


def test_a_seal_is_hard_to_guess_and_its_owners_only(books: Books, tmp_path: Path):
    path = tmp_path / "index" / "seal"
    before = os.umask(0)
    try:
        seal.renew(books.database, path)
    finally:
        os.umask(before)
    assert len(bytes.fromhex(path.read_text())) == 16
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_seal_that_was_cut_off_while_it_was_renewed_is_renewed_all_the_same(books: Books, tmp_path: Path):
    path = tmp_path / "seal"
    (tmp_path / "seal.new").write_text("half")
    seal.renew(books.database, path)
    assert seal.fits(books.database, path)
    assert sorted(one.name for one in tmp_path.iterdir() if "seal" in one.name) == ["seal"]


def test_a_seal_that_is_no_text_or_far_too_long_does_not_fit(books: Books, tmp_path: Path):
    path = tmp_path / "seal"
    seal.renew(books.database, path)
    path.write_bytes(b"\xff\xfe" * 8)
    assert not seal.fits(books.database, path)
    path.write_bytes(b"a" * 10_000_000)
    assert not seal.fits(books.database, path)


def test_where_a_file_stands_in_the_place_of_the_index_there_is_no_seal(books: Books, tmp_path: Path):
    (tmp_path / "index").write_text("not a directory")
    assert seal.fits(books.database, tmp_path / "index" / "seal")
