"""Real files: `golden/blast` was made by makeblastdb 2.12 (`-blastdb_version 4`, and 5) of two entries of UniProt."""

import gzip
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import zstandard

from pipeline.databases.formats import Counts, count, recognise
from pipeline.databases.records import Database
from pipeline.databases.sequence_files import blocks
from pipeline.errors import LibraryError
from pipeline.search.engines import Options, Query, Source, engine

GOLDEN = Path(__file__).parents[1] / "golden" / "blast"
CRAMBIN = "TTCCPSIVARSNFNVCRLPGTPEALCATYTGCIIIPGATCPGDYAN"
BPTI = "RPDFCLEPPYTGPCKARIIRYFYNAKAGLCQTFVYGGCRAKRNNFKSAEDCMRTCGGA"
FASTA = f">sp|P01542|CRAM_CRAAB Crambin\n{CRAMBIN}\n>sp|P00974|BPT1_BOVIN Pancreatic trypsin inhibitor\n{BPTI}\n"
UNIPROT = """\
ID   CRAM_CRAAB              Reviewed;          46 AA.
AC   P01542;
DT   21-JUL-1986, integrated into UniProtKB/Swiss-Prot.
DE   RecName: Full=Crambin;
GN   Name=THI2;
OS   Crambe hispanica subsp. abyssinica (Abyssinian crambe) (Abyssinian kale).
OX   NCBI_TaxID=3721;
PE   1: Evidence at protein level;
SQ   SEQUENCE   46 AA;  4736 MW;  919E68AF159EF722 CRC64;
     TTCCPSIVAR SNFNVCRLPG TPEALCATYT GCIIIPGATC PGDYAN
//
ID   BPT1_BOVIN              Reviewed;          58 AA.
AC   P00974;
DE   RecName: Full=Pancreatic trypsin inhibitor;
SQ   SEQUENCE   58 AA;  6518 MW;  0000000000000000 CRC64;
     RPDFCLEPPY TGPCKARIIR YFYNAKAGLC QTFVYGGCRA KRNNFKSAED CMRTCGGA
//
"""
GENPEPT = """\
LOCUS       1CRN_A                    46 aa            linear   PLN 10-JUL-2009
DEFINITION  Chain A, Crambin.
ACCESSION   1CRN_A
VERSION     1CRN_A
FEATURES             Location/Qualifiers
     source          1..46
ORIGIN
        1 ttccpsivar snfnvcrlpg tpealcatyt gciiipgatc pgdyan
//
LOCUS       4PTI_A                    58 aa            linear   MAM 10-JUL-2009
DEFINITION  Chain A, Trypsin inhibitor.
ACCESSION   4PTI_A
VERSION     4PTI_A
ORIGIN
        1 rpdfcleppy tgpckariir yfynakaglc qtfvyggcra krnnfksaed cmrtcgga
//
"""


@pytest.fixture
def place(tmp_path):
    """Return a folder with the two proteins in every format."""
    for name, text in (("x.dat", UNIPROT), ("x.gp", GENPEPT), ("x.hmmpgmd", f"#104 2 1 2 2 now\n{FASTA}")):
        (tmp_path / name).write_text(text)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
        (tmp_path / f"{name}.zst").write_bytes(zstandard.compress(text.encode()))
    for end in ("pin", "phr", "psq"):
        for name in ("two", "volumes.00", "volumes.01"):
            shutil.copy(GOLDEN / f"two.{end}", tmp_path / f"{name}.{end}")
    (tmp_path / "volumes.pal").write_text('#\n# Alias file\n#\nTITLE two\nDBLIST "volumes.00" volumes.01\n')
    shutil.copy(GOLDEN / "five.pin", tmp_path / "five.pin")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "found"),
    [
        *((f"x.dat{end}", f"UniProt flat file{how}") for end, how in (("", ""), (".gz", ", gzip"), (".zst", ", zstd"))),
        *((f"x.gp{end}", f"GenPept flat file{how}") for end, how in (("", ""), (".gz", ", gzip"), (".zst", ", zstd"))),
        *((f"x.hmmpgmd{end}", f"hmmpgmd{how}") for end, how in (("", ""), (".gz", ", gzip"), (".zst", ", zstd"))),
        ("two", "BLAST database"),
    ],
)
def test_every_format_gives_the_same_sequences(place, name, found):
    database = Database("x", place / name, "1")
    assert str(recognise(database)) == found
    assert count(database, recognise(database)) == Counts(2, 104)
    one_by_one = [sequence for block in blocks(place / name, 1) for sequence in block]
    assert [sequence.textize().sequence for sequence in one_by_one] == [CRAMBIN, BPTI]


def test_volumes_are_read_one_after_the_other(place):
    database = Database("x", place / "volumes", "1")
    assert count(database, recognise(database)) == Counts(4, 208)
    assert database.anchor == place / "volumes.pal"
    assert len(database.files) == 7


@pytest.mark.parametrize("name", ["x.dat.gz", "x.gp", "x.hmmpgmd.zst", "two"])
def test_every_format_can_be_searched(place, name):
    made, query = engine("phmmer"), BPTI[:40].replace("YNAKAG", "WNSKAG")
    ((_, found),) = made.search([Query("q", query)], Source.of_file(Database("x", place / name, "1")), Options())
    (header,) = found.alignment.names[1:]
    assert re.search("BPT1_BOVIN|4PTI_A", header)
    assert re.search("rypsin inhibitor", header)
    assert found.alignment.rows[1] == BPTI[:40]


def test_a_fasta_file_with_its_blast_index_is_the_fasta_file(place):
    (place / "two").write_text(FASTA + ">third\nMKV\n")
    database = Database("x", place / "two", "1")
    assert str(recognise(database)) == "FASTA"
    assert database.files == [place / "two"]
    assert count(database, recognise(database)).sequences == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: shutil.copy(p / "five.pin", p / "two.pin"), "of version 4, found version 5; make it again: makebl"),
        (lambda p: (p / "two.pin").write_bytes(bytes([0, 0, 0, 4, 0, 0, 0, 0])), "found one of nucleotides"),
        (lambda p: (p / "two.psq").unlink(), r"two: expected a BLAST database of protein sequences \("),
        (lambda p: (p / "two.psq").write_bytes(b""), r"two: expected a BLAST database of protein sequences \("),
        (lambda p: (p / "two.phr").write_bytes((p / "two.phr").read_bytes()[:150]), r"two: expected a BLAST database"),
        (
            lambda p: (p / "two.pal").write_text("DBLIST two\nOIDLIST two.msk\n"),
            r"a choice of .* \(OIDLIST\); write its",
        ),
        (lambda p: (p / "two.pal").write_text("DBLIST gone\n"), r"gone\.pin: cannot read the file \(no such file"),
        (lambda p: (p / "two.pal").write_text('DBLIST "a b\n'), r"a\.pin: cannot read the file"),
    ],
)
def test_blast_databases_that_cannot_be_searched(place, change, message):
    change(place)
    database = Database("x", place / "two", "1")
    with pytest.raises(LibraryError, match=message) as caught:
        count(database, recognise(database))
    assert str(caught.value).isprintable()
    with pytest.raises(LibraryError, match=message):
        list(Source.of_file(database).chunks())


def test_a_damaged_blast_database_is_read_or_refused(place):
    """Letters that are none must not reach HMMER's tables."""
    rng, problems = np.random.default_rng(3), []
    database = Database("x", place / "two", "1")
    for _ in range(150):
        end = rng.choice(["pin", "phr", "psq"])
        whole = (GOLDEN / f"two.{end}").read_bytes()
        damaged = bytearray(whole)
        for index in rng.integers(len(whole), size=2):
            damaged[index] = rng.integers(256)
        (place / f"two.{end}").write_bytes(damaged)
        try:
            assert count(database, recognise(database)).sequences
        except LibraryError as error:
            problems.append(str(error))
        (place / f"two.{end}").write_bytes(whole)
    assert 50 < len(problems) < 150
    assert all(map(str.isprintable, problems))


@pytest.mark.parametrize(
    "text",
    ["ID   X56734; SV 1; linear; mRNA; STD; PLN; 30 BP.\nSQ\n", "LOCUS       AB000001     30 bp    DNA\nORIGIN\n"],
)
def test_flat_files_of_nucleotides(tmp_path, text):
    (tmp_path / "x").write_text(text)
    with pytest.raises(LibraryError, match="x: expected sequences of proteins, found a flat file of nucleotides"):
        recognise(Database("x", tmp_path / "x", "1"))
    with pytest.raises(LibraryError, match="found a flat file of nucleotides"):
        list(blocks(tmp_path / "x", 1))


@pytest.mark.parametrize("text", [UNIPROT, GENPEPT])
def test_a_flat_file_that_was_cut_short(tmp_path, text):
    (tmp_path / "x").write_text(text[: text.rindex("//")])
    database = Database("x", tmp_path / "x", "1")
    with pytest.raises(LibraryError, match=r"x: expected a .* flat file of protein sequences"):
        count(database, recognise(database))
