"""The dump, run as the system's Python runs it, with a stand-in for ProMod3."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.library import structuredb
from pipeline.library.source import dump_structuredb, read_dump

STAND_IN = """
class Vec:
    def __init__(self, *data):
        self.data = data


class Chain:
    def __init__(self, index):
        self.index = index
        for atom, name in enumerate(("N", "CA", "C", "O", "CB")):
            setattr(self, "Get" + name, lambda k, atom=atom: Vec(float(self.index), float(k), float(atom)))

    def __len__(self):
        return 3 + 2 * self.index


class Column:
    def GetFreq(self, letter):
        return 0.5 if letter in "AY" else 0.0


class Profile:
    def __init__(self, length):
        self.columns = [Column()] * length


class Info:
    def __init__(self, index):
        self.id, self.chain_name, self.start_resnum = f"{index}ABC", "A", 5 + index


class Database:
    def GetNumCoords(self):
        return 3

    GetCoordInfo = staticmethod(Info)
    GetBackboneList = staticmethod(Chain)

    def GetSequence(self, index):
        return "GAY"[index] * (3 + 2 * index)

    def GetDSSPStates(self, index):
        return "H" * (3 + 2 * index)

    def GetSequenceProfile(self, index):
        return Profile(3 + 2 * index)


def LoadStructureDB():
    return Database()
"""


@pytest.fixture
def promod3(tmp_path, monkeypatch):
    package = tmp_path / "site" / "promod3"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "loop.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


@pytest.mark.usefixtures("promod3")
def test_a_dump_reads_back(tmp_path):
    dump_structuredb(Path(sys.executable), tmp_path / "dump")
    chains = read_dump(tmp_path / "dump", frozenset({"1ABC_A"}))
    assert chains.ids == ["0ABC_A", "1ABC_A", "2ABC_A"]
    assert chains.sequences == ["GGG", "AAAAA", "YYYYYYY"]
    assert chains.first.tolist() == [5, 6, 7]
    assert chains.held_out.tolist() == [False, True, False]
    for index, atoms in enumerate(chains.backbones):
        assert atoms.shape == (3 + 2 * index, 5, 3)
        np.testing.assert_array_equal(atoms[2, 4], [index, 2, 4])
    assert not (tmp_path / "dump" / "profile.npy").exists()


@pytest.mark.usefixtures("promod3")
def test_profiles_are_dumped_in_alphabetical_order(tmp_path):
    command = [sys.executable, structuredb.__file__, tmp_path / "dump", "--profiles", "--processes", "1"]
    subprocess.run(command, check=True)
    profiles = np.load(tmp_path / "dump" / "profile.npy")
    assert profiles.shape == (15, 20)
    assert np.flatnonzero(profiles[7]).tolist() == [0, 19]
    assert np.load(tmp_path / "dump" / "dssp.npy").tobytes() == b"H" * 15
