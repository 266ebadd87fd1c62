"""Fragments: the windows that are most alike vote, and their votes are judged as the network's shares are."""

import dataclasses

import numpy as np
import pytest

from models import coevolution
from models.config import PRESETS
from pipeline.protein import read_structure
from training import chain_sets, dataset, fragments
from training.fragments import WIDTH

BINS = 36


def profile(n, seed=0):
    return np.random.default_rng(seed).dirichlet(np.full(20, 0.3), n).astype(np.float32)


def test_a_window_is_most_alike_to_itself(monkeypatch):
    monkeypatch.setattr(fragments, "_AT_ONCE", 7)
    vectors = fragments.vectors(profile(40))
    assert vectors.shape == (40 - WIDTH + 1, WIDTH * 20)
    np.testing.assert_allclose(np.square(vectors).sum(axis=1), WIDTH, rtol=1e-4)
    library = fragments.Fragments(vectors, np.zeros((len(vectors), 2)))
    found = fragments.nearest(library, vectors[[3, 20]], 2)
    alike = vectors[[3, 20]] @ vectors.T
    assert [set(row) for row in found] == [set(np.argsort(-row)[:2]) for row in alike]
    assert [own in row for own, row in zip((3, 20), found, strict=True)] == [True, True]


def test_torsions_are_those_of_the_backbone(golden):
    protein = read_structure(golden / "1bpi_A.pdb")
    backbone = protein.atom37_positions[:, :3].copy()
    found = np.degrees(fragments.torsions(backbone))
    assert np.isnan(found[0, 0])
    assert np.isnan(found[-1, 1])
    helix = found[47:53]  # residues 48 to 53
    np.testing.assert_allclose(helix, np.broadcast_to([-64, -42], helix.shape), atol=15)
    backbone[20:] += 5.0
    broken = fragments.torsions(backbone)
    assert np.isnan(broken[19, 1])
    assert np.isnan(broken[20, 0])
    np.testing.assert_allclose(np.degrees(broken[30:40]), found[30:40], atol=1e-3)


def test_votes_are_shares_near_the_angles():
    angles = np.radians([[[-60.0, -40.0]] * 3 + [[179.0, 100.0]]])
    shares = fragments.votes(angles, BINS)
    np.testing.assert_allclose(shares.sum(axis=-1), 1, rtol=1e-6)
    right, entropy = fragments.judged(shares, np.radians([[-70.0, -45.0]]))
    assert right[0]
    wrong, more = fragments.judged(shares, np.radians([[60.0, 45.0]]))
    assert not wrong[0]
    assert more[0] > entropy[0] + 1
    assert shares[0, 0, 0] > 2 * shares[0, 0, BINS // 2]  # -175 degrees is near 179


class Database:
    """Two chains: the beginnings of BPTI."""

    lengths = np.array([30, 15])

    def __init__(self, golden):
        self._backbone = read_structure(golden / "1bpi_A.pdb").atom37_positions

    def profile(self, index):
        return profile(self.lengths[index], index)

    def atom37(self, index):
        n = self.lengths[index]
        return self._backbone[:n], np.ones((n, 37), bool)

    def hit_msa(self, index, picked):
        n = self.lengths[index]
        return np.zeros((1, n), np.int8), np.zeros((1, n), np.int16)


@dataclasses.dataclass
class Source:
    """Stands for the training data."""

    database: Database

    def example(self, index, rng, crop, templates, msa):
        assert not templates
        assert msa[0].shape[1] == self.database.lengths[index]
        return {"index": index}


def test_ways_are_compared_on_the_same_residues(golden):
    database = Database(golden)

    def truth(index):
        return fragments.torsions(database.atom37(index)[0][:, :3])

    def expect(example):  # what is right
        return fragments.votes(np.nan_to_num(truth(example["index"]))[:, None], BINS)

    def vote(windows):  # what says nothing
        return np.full((len(windows), 2, BINS), 1 / BINS)

    found = fragments.compare(Source(database), np.arange(2), expect, vote)
    assert list(found) == ["network", "fragments", "mean"]
    assert found["network"][0] == 1
    assert found["fragments"][0] < 0.5
    assert found["fragments"][1] == pytest.approx(np.log(BINS))
    assert found["network"][1] < found["mean"][1] < found["fragments"][1]


def test_the_network_is_shown_no_couplings(golden, folder, monkeypatch):
    """Chain 0 has the beginning of BPTI as backbone; couplings of independent rows would be noise."""
    store, n = folder / "structuredb", 41
    backbone = np.load(store / "backbone.npy")
    backbone[:n] = read_structure(golden / "1bpi_A.pdb").atom37_positions[:n, chain_sets.BACKBONE_ATOM37]
    np.save(store / "backbone.npy", backbone)
    source = dataset.ExampleSource(
        chain_sets.StructureDB(store, folder / "hits.npz"), None, np.arange(5), PRESETS["mini"]
    )
    found, shown = [], []
    monkeypatch.setattr(coevolution, "couplings", lambda msa: found.append(np.ones((n, n), np.float32)) or found[-1])

    def expect(example):
        shown.append(example)
        return np.full((len(example["aatype"]), 2, BINS), 1 / BINS)

    fragments.compare(source, np.arange(1), expect, lambda windows: np.full((len(windows), 2, BINS), 1 / BINS))
    assert len(found) == 1  # of the alignment as it is
    (example,) = shown
    assert example["seq_mask"].sum() == n
    assert example["couplings"].shape == (len(example["aatype"]),) * 2
    assert not example["couplings"].any()


def test_windows_are_collected_until_there_are_enough(golden):
    database = Database(golden)
    few = fragments.collect(database, np.arange(2), 1)
    every = fragments.collect(database, np.arange(2), 10**6)
    assert len(few.windows) in {30 - WIDTH + 1, 15 - WIDTH + 1}
    assert every.windows.shape == (30 + 15 - 2 * (WIDTH - 1), WIDTH * 20)
    assert every.torsions.shape == (len(every.windows), 2)
