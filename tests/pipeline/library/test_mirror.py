"""The files of a mirror, and what became of obsolete entries."""

import os

import pytest

from pipeline.errors import LibraryError
from pipeline.library.mirror import read_obsolete, scan


def test_files_are_found_at_any_depth(tmp_path):
    names = [
        "ab/1abc.cif.gz",
        "ab/deep/er/2abc.cif",
        "3abc.mmcif",
        "4ABC.CIF.GZ",
        "new\nline $(x) <b>.cif",
        ".5abc.cif.gz.Xy1",
    ]
    for name in [*names, "readme.txt", ".hidden.cif", "ab/1abc.cif.gz.tmp"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x" * len(name))
    (tmp_path / "folder.cif").mkdir()
    os.mkfifo(tmp_path / "pipe.cif")
    (tmp_path / "gone.cif").symlink_to(tmp_path / "nothing")
    found = scan(tmp_path)
    assert list(found) == sorted(names[:-1])
    assert found["3abc.mmcif"] == (10, (tmp_path / "3abc.mmcif").stat().st_mtime_ns)


def test_a_name_that_is_no_text_is_kept(tmp_path):
    (tmp_path / os.fsdecode(b"\xff\xfe.cif")).write_text("x")
    assert [os.fsencode(name) for name in scan(tmp_path)] == [b"\xff\xfe.cif"]


def test_no_mirror_is_an_error(tmp_path):
    with pytest.raises(LibraryError, match=r"no mmCIF files .*; correct --mmcif"):
        scan(tmp_path)
    with pytest.raises(LibraryError, match=r"nothing: cannot read the folder \(no such file or directory\)"):
        scan(tmp_path / "nothing")


OBSOLETE = """\
 LIST OF OBSOLETE COORDINATE ENTRIES AND SUCCESSORS
OBSLTE    31-JUL-94 1AAA     2BBB
OBSLTE    31-JUL-95 2BBB     3CCC 4DDD
OBSLTE    31-JUL-96 5EEE
OBSLTE    31-JUL-97 6FFF     5EEE
OBSLTE    31-JUL-98 7GGG     8HHH
OBSLTE    31-JUL-99 8HHH     7GGG
OBSLTE    31-JUL-99 pdb_00009iii     3ccc
OBSLTE    nothing
"""


def test_obsolete_entries_lead_to_their_last_successor(tmp_path):
    (tmp_path / "obsolete.dat").write_text(OBSOLETE)
    assert read_obsolete(tmp_path / "obsolete.dat") == {
        **{"1AAA": "3CCC", "2BBB": "3CCC", "5EEE": "", "6FFF": ""},
        **{"7GGG": "", "8HHH": "", "9III": "3CCC"},
    }


def test_another_file_is_no_list_of_obsolete_entries(tmp_path):
    (tmp_path / "a").write_bytes(b"\xff\x00<html>")
    with pytest.raises(LibraryError, match="expected the PDB's list of obsolete entries"):
        read_obsolete(tmp_path / "a")
    with pytest.raises(LibraryError, match="cannot read the list"):
        read_obsolete(tmp_path / "b")
