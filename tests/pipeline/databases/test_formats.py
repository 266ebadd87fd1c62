import io
import tarfile

import pytest

from pipeline.config import ROOT
from pipeline.databases.formats import Counts, Format, count, recognise
from pipeline.databases.records import Database
from pipeline.errors import LibraryError


@pytest.mark.parametrize(
    ("name", "kind", "found", "counts"),
    [
        ("plain.fasta", "sequences", "FASTA", Counts(2, 27)),
        ("a.fasta.gz", "sequences", "FASTA, gzip", Counts(2, 27)),
        ("a.fasta.zst", "sequences", "FASTA, zstd", Counts(2, 27)),
        ("a.hmmpgmd", "sequences", "hmmpgmd", Counts(2, 27)),
        ("text.hmm", "profiles", "HMMER profiles", Counts(2, 15)),
        ("text.hmm.gz", "profiles", "HMMER profiles, gzip", Counts(2, 15)),
        ("binary.hmm", "profiles", "HMMER profiles", Counts(2, 15)),
        ("pressed.hmm", "profiles", "HMMER profiles, pressed", Counts(2, 15)),
        ("mm", "sequences", "MMseqs2 sequences", Counts(2, 15)),
        ("mmprofiles", "profiles", "MMseqs2 profiles", Counts(2, None)),
        ("mmcompressed", "sequences", "MMseqs2 sequences (compressed)", Counts(2, None)),
        ("hh", "profiles", "HH-suite", Counts(3, None)),
    ],
)
def test_formats_are_recognised_and_counted(place, name, kind, found, counts):
    database = Database("x", place / name, "1", kind)
    assert str(recognise(database)) == found
    assert count(database, recognise(database)) == counts


def test_the_embedded_library():
    database = Database("library", ROOT / "data/library", kind="library")
    assert str(recognise(database)) == "template library"
    assert count(database, recognise(database)) == Counts(21_119, 4_561_225)


def tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("uniref90.fasta"))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>404</html>", "x: expected sequences or profiles, found a web page or XML; give protein sequences as"),
        (b"BZh91AY&SY", "found a file packed by bzip2"),
        (b"\xfd7zXZ\0\0", "found a file packed by xz"),
        (b"PK\x03\x04ab", "found a zip archive"),
        (tar(), "found a tar archive"),
        (b"# STOCKHOLM 1.0\n>", "found a Stockholm alignment"),
        (b"@read\nACGT\n+\n####\n", "found FASTQ"),
        (b"# a comment\nx", "found '# a comment"),
        (b"\x80\x04K\x01.", r"found '\\\\x80"),
        (b" \n\n", "x: there is nothing in this file; put the whole file there"),
    ],
)
def test_what_cannot_be_searched_is_refused(tmp_path, content, message):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(LibraryError, match=message):
        recognise(Database("x", tmp_path / "x", "1"))


def test_a_kind_that_is_not_what_is_there(place):
    with pytest.raises(LibraryError, match="'x' holds HMMER profiles, but its kind is sequences; write kind: profiles"):
        recognise(Database("x", place / "text.hmm", "1"))
    with pytest.raises(LibraryError, match="'x' holds FASTA, gzip, but its kind is profiles; write kind: sequences"):
        recognise(Database("x", place / "a.fasta.gz", "1", "profiles"))


def test_databases_of_mmseqs_that_cannot_be_searched(place):
    with pytest.raises(LibraryError, match="expected protein sequences or profiles of MMseqs2, found nucleotides"):
        recognise(Database("x", place / "mmdna", "1"))
    (place / "mm.index").unlink()
    with pytest.raises(LibraryError, match=r"mm: this database of MMseqs2 has no \.index; make it again"):
        recognise(Database("x", place / "mm", "1"))


def test_a_folder_is_no_database(tmp_path):
    with pytest.raises(LibraryError, match="expected a file; give protein sequences as FASTA"):
        recognise(Database("x", tmp_path, "1"))


def test_nothing_in_it(place):
    (place / "mm.index").write_text("")
    database = Database("x", place / "mm", "1")
    with pytest.raises(LibraryError, match="the database 'x' holds no sequences"):
        count(database, recognise(database))


def test_damaged_profiles(place):
    (place / "text.hmm").write_text("HMMER3/f [3.4]\nNAME x\nLENG many\n")
    database = Database("x", place / "text.hmm", "1", "profiles")
    with pytest.raises(LibraryError, match=r"text\.hmm: expected profiles of HMMER"):
        count(database, recognise(database))


def test_a_letter_that_no_search_takes(tmp_path):
    (tmp_path / "x.fasta").write_text(">a\nMKV\n>b\nMK-V\n")
    with pytest.raises(LibraryError, match=r"x\.fasta: expected a FASTA file of .*Line 4: illegal character -"):
        count(Database("x", tmp_path / "x.fasta", "1"), Format("FASTA"))


def test_a_header_in_another_encoding(tmp_path):
    (tmp_path / "x.fasta").write_bytes(">a prot\xe9ine\nMKVWYACDEF\n>\xe9\nMKV\n".encode("latin-1"))
    assert count(Database("x", tmp_path / "x.fasta", "1"), Format("FASTA")) == Counts(2, 13)


def test_nucleotides_are_no_proteins(tmp_path):
    (tmp_path / "x.fasta").write_text(f">a\n{'ACGTTGCANN' * 30}\n>b\n{'GATTACA' * 30}\n")
    with pytest.raises(LibraryError, match=r"x\.fasta: expected sequences of proteins, found nucleotides; give"):
        count(Database("x", tmp_path / "x.fasta", "1"), Format("FASTA"))
    (tmp_path / "x.fasta").write_text(f">a\n{'ACGT' * 30}\n>b\n{'MKVWY' * 60}\n")
    assert count(Database("x", tmp_path / "x.fasta", "1"), Format("FASTA")).sequences == 2
