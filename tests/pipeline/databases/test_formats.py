import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import ROOT
from pipeline.databases import formats
from pipeline.databases.formats import Counts, count, count_fasta, recognise
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


@settings(deadline=None)  # the machine may be busy
@given(
    text=st.lists(st.sampled_from([b">", b"A", b"W", b" ", b"\n", b"\r", b">x\n"]), max_size=40).map(b"".join),
    block=st.integers(1, 9),
)
def test_counts_are_those_of_the_lines(text, block):
    lines = text.split(b"\n")
    letters = sum(len(b"".join(line.split())) for line in lines if not line.startswith(b">"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(formats, "_BLOCK", block)
        assert count_fasta(io.BytesIO(text)) == Counts(sum(line.startswith(b">") for line in lines), letters)
