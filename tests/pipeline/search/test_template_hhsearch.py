"""hhsearch: its reports, and a run where the programs of HH-suite are installed."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.a3m import Alignment
from pipeline.errors import ConfigError, LibraryError
from pipeline.library.store import EMBEDDED, TemplateLibrary
from pipeline.search.template_hhsearch import HHHit, HHsearch, in_library, parse_hhr

REPORT = """Query         query
Match_columns 12

 No Hit                             Prob E-value P-value  Score    SS Cols Query HMM  Template HMM
  1 1CTF_A test                    100.0 1.6E-36 2.6E-38  179.0   0.0   66    1-66      1-68  (68)

No 1
>1CTF_A one; two
Probab=99.95  E-value=1.6e-36  Score=179.00  Aligned_cols=66  Identities=97%  Similarity=1  Sum_probs=63.9

Q ss_pred             CCCC
Q query             3 MKTAY--   7 (12)
Q Consensus         3 mktAY--   7 (12)
                      |||++
T Consensus         5 mk~ay~l   10 (68)
T 1CTF_A            5 MK-AYVL   10 (68)
T ss_dssp             HHHH
Confidence            999

Q query             8 GG       9 (12)
T 1CTF_A           11 GG      12 (68)
Confidence            99

No 2
>2xyz_b
Probab=50.00  E-value=2  Score=10.00  Aligned_cols=1  Identities=97%  Similarity=1  Sum_probs=0.9

Q query             1 M    1 (12)
T 2xyz_b            1 M    1 (9)

"""


class Library:
    """Chains by name."""

    def __init__(self, **sequences):
        self.ids, self.sequences = list(sequences), list(sequences.values())

    def index(self, name):
        if name not in self.ids:
            raise LibraryError(f"no chain {name}")
        return self.ids.index(name)

    def sequence(self, index):
        return self.sequences[index]


def test_a_report():
    first, second = parse_hhr(REPORT)
    assert first == HHHit("1CTF_A", 1.6e-36, 179.0, 63.9, 2, "MKTAY--GG", 4, "MK-AYVLGG")
    assert (second.chain, second.e_value, second.query_start) == ("2xyz_b", 2.0, 0)
    assert parse_hhr("Query  q\n\n No Hit\n") == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (">1CTF_A one; two", "1CTF_A", "expected a hit in hhsearch's report, found '1CTF_A'"),
        ("Probab=99.95", "", "expected a hit in hhsearch's report, found '>1CTF_A one; two'"),
        ("E-value=2 ", "E-value=x ", "figures that are no numbers for '2xyz_b'"),
        ("MK-AYVL ", "MK-AYV ", "rows of different lengths for '1CTF_A'"),
        ("T 2xyz_b            1 M    1 (9)", "", "rows of different lengths for '2xyz_b'"),
    ],
)
def test_damaged_reports(old, new, message):
    with pytest.raises(LibraryError, match=message):
        parse_hhr(REPORT.replace(old, new))


@given(st.integers(0, len(REPORT)), st.integers(0, 40), st.text(max_size=20))
def test_no_report_makes_a_traceback(place, length, text):
    damaged = REPORT[:place] + text + REPORT[place + length :]
    try:
        found = parse_hhr(damaged)
    except LibraryError:
        return
    assert all(len(hit.query_alignment) == len(hit.template_alignment) for hit in found)


def test_a_chain_of_the_library():
    hit, _ = parse_hhr(REPORT)
    found = in_library(hit, Library(**{"1CTF_A": "WWWWMKAYVLGGWW"}), "PPMKTAYGGPPP")
    assert found.excluded == ""
    assert found.pairs() == [(2, 4), (3, 5), (5, 6), (6, 7), (7, 10), (8, 11)]
    assert (found.identity, found.coverage, found.sum_probs) == (1.0, 0.5, 63.9)


def test_another_version_of_the_sequence():
    """The library's chain lacks residues before and within the hit."""
    hit = HHHit("1abc_A", 1e-9, 50.0, 9.0, 0, "MKTAYIAKQRQISFVKSHFSRQ", 10, "MKTAYIAKQRQISFVKSHFSRQ")
    found = in_library(hit, Library(**{"1ABC_A": "GMKTAYIAKQRSFVKSHFSRQ"}), "MKTAYIAKQRQISFVKSHFSRQ")
    assert (found.id, found.excluded) == ("1ABC_A", "")
    assert found.pairs() == [(i, i + 1 if i < 10 else i - 1) for i in range(22) if i not in (10, 11)]
    other = in_library(hit, Library(**{"1ABC_A": "WWWWWWGGGGGGWWWWWWWGGGG"}), "MKTAYIAKQRQISFVKSHFSRQ")
    assert other.excluded == "its sequence is another one in the library"
    missing = in_library(hit, Library(), "MKTAYIAKQRQISFVKSHFSRQ")
    assert (missing.excluded, missing.coverage) == ("not in the library", 1.0)


def test_the_program_is_missing(tmp_path, monkeypatch):
    (tmp_path / "db_hhm.ffindex").write_text("1ABC_A\t0\t1\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LibraryError, match=r"there is no program hhsearch; install HH-suite"):
        HHsearch.of(f"pdb70={tmp_path}/db:1")
    with pytest.raises(LibraryError, match="the database 'pdb70' does not exist"):
        HHsearch.of(f"pdb70={tmp_path}/none:1")
    with pytest.raises(ConfigError, match="expected NAME=PATH:VERSION"):
        HHsearch.of("pdb70")


@pytest.fixture
def database(tmp_path):
    """Profiles of a few chains of the library, as HH-suite keeps them; the states that hhblits needs are left out."""
    programs = {name: shutil.which(name) for name in ("hhsearch", "hhmake", "ffindex_build")}
    if None in programs.values():
        pytest.skip("HH-suite is not installed")
    library = TemplateLibrary.open(EMBEDDED)
    for kind in ("a3m", "hhm"):
        (tmp_path / kind).mkdir()
    for name in ("1CTF_A", library.ids[3], library.ids[4]):
        a3m = tmp_path / "a3m" / name
        a3m.write_text(f">{name}\n{library.sequence(library.index(name))}\n")
        words = [programs["hhmake"], "-i", a3m, "-o", tmp_path / "hhm" / name, "-v", "0"]
        subprocess.run(words, check=True, capture_output=True)
    for kind, folder in (("a3m", "a3m"), ("hhm", "hhm"), ("cs219", "a3m")):
        files = [f"db_{kind}.ffdata", f"db_{kind}.ffindex", folder]
        subprocess.run([programs["ffindex_build"], "-s", *files], cwd=tmp_path, check=True, capture_output=True)
    return library, tmp_path / "db"


@pytest.mark.skipif(not EMBEDDED.exists(), reason="the embedded library is not in this checkout")
def test_a_search(database):
    library, path = database
    sequence = library.sequence(library.index("1CTF_A"))
    query = sequence[:20] + "GAG" + sequence[25:]
    hhsearch = HHsearch.of(f"few={path}:1")
    assert hhsearch.name.startswith("hhsearch-3")
    (hit,) = hhsearch.hits(Alignment(("<x> y",), (query,)), library, 1e-3, 1)
    assert (hit.id, hit.coverage, hit.excluded) == ("1CTF_A", 1.0, "")
    assert sum(query[i] == sequence[j] for i, j in hit.pairs()) >= 62
    (path.parent / "db_cs219.ffdata").unlink()
    with pytest.raises(LibraryError, match=r"db: hhsearch failed: .*; check the HH-suite database"):
        hhsearch.hits(Alignment(("q",), (query,)), library, 1e-3, 1)
