"""The statistics of torsions: smoothing keeps counts, shares are shares, both sources are read."""

import json

import numpy as np
import pytest

from models import residue_constants as rc
from pipeline.quality import rotamers
from pipeline.quality.statistics import SCHEMA, ChiTables
from pipeline.records import read_npz
from training import quality_statistics as made

RNG = np.random.default_rng(19)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_smoothing_keeps_the_count_and_goes_around(dimensions):
    histogram = np.zeros((37,) * dimensions)
    histogram[(0,) * dimensions] = 5
    smooth = made.smoothed(histogram, 30.0)
    assert smooth.sum() == pytest.approx(5)
    assert smooth[(0,) * dimensions] == smooth.max()
    np.testing.assert_allclose(
        smooth, np.roll(smooth[(slice(None, None, -1),) * dimensions], (1,) * dimensions, range(dimensions))
    )


def test_a_quarter_turn_is_a_standard_deviation_of_the_smoothing():
    histogram = np.zeros(360)
    histogram[180] = 1
    smooth = made.smoothed(histogram, 20.0)
    assert smooth[200] / smooth[180] == pytest.approx(np.exp(-0.5), rel=1e-6)


def test_densities_of_a_side_chain_with_one_rotamer():
    chi = RNG.normal((-65, 175, 60), 8, (2003, 3))
    arrays = made._tables_of("Q", chi)
    tables = ChiTables(
        tuple(arrays[f"chi_Q_{k}"].astype(float) * -0.05 for k in range(2)), arrays["quantiles_Q"].astype(float)
    )
    assert tables.torsions == 3
    density = rotamers.log_density(tables, np.array([[-65.0, 175, 60], [-65, 175, -120], [65, 175, 60]]))
    assert density[0] > density[1] + 5
    assert density[0] > density[2] + 5
    assert tables.share(rotamers.log_density(tables, chi)).mean() == pytest.approx(0.5, abs=0.01)


def test_both_names_of_a_ring_count():
    chi = np.tile([[-65.0, 85.0]], (53, 1))
    arrays = made._tables_of("F", chi)
    table = arrays["chi_F_0"]
    np.testing.assert_array_equal(table, np.roll(table, 36, axis=1))


def test_the_file_is_made_from_both_sources(tmp_path):
    dump(tmp_path / "dump")
    chains(tmp_path / "chains.npz")
    (tmp_path / "held_out.txt").write_text("2ABC_B\n")
    arguments = {"dump": "dump", "allatom": "chains.npz", "held-out": "held_out.txt", "output": "out.npz"}
    assert made.main([word for name, path in arguments.items() for word in (f"--{name}", str(tmp_path / path))]) == 0
    arrays = read_npz(tmp_path / "out.npz", SCHEMA)
    facts = json.loads(str(arrays["facts"]))
    assert arrays["ramachandran"].shape == (6, 90, 90)
    assert sum(facts["ramachandran"]["residues"].values()) == 21  # the inner residues of the chain that is not held out
    assert facts["rotamers"]["residues"]["L"] == 29
    assert facts["letters"] == "".join(letter for letter in rc.RESTYPES if letter not in "AG")


def test_torsions_end_at_a_break():
    n, ca, c = np.moveaxis(helix(7), 1, 0)
    n[4:], ca[4:], c[4:] = (x[4:] + 1.0 for x in (n, ca, c))
    phi, psi, bonded = made.backbone_torsions(n, ca, c)
    assert bonded.tolist() == [True, True, True, False, True, True]
    assert np.flatnonzero(np.isnan(phi)).tolist() == [0, 4]
    assert np.flatnonzero(np.isnan(psi)).tolist() == [3, 6]
    np.testing.assert_allclose(phi[[1, 2, 3, 5, 6]], phi[1])
    np.testing.assert_allclose(psi[[0, 1, 2, 4, 5]], phi[1])  # the atoms lie on one helix, evenly


def helix(count):
    """Return N, CA and C of a helix, bonds 1.45 angstrom long, shape (count, 3, 3)."""
    k = np.arange(3 * count)
    points = np.stack([1.6 * np.cos(0.6 * k), 1.6 * np.sin(0.6 * k), 1.1 * k], axis=1)
    return points.reshape(count, 3, 3)


def dump(folder):
    folder.mkdir()
    backbone = np.zeros((46, 5, 3), np.float32)
    backbone[:23, :3] = backbone[23:, :3] = helix(23)
    arrays = {
        "ids": np.array(["1ABC_A", "2ABC_B"]),
        "offsets": np.array([0, 23, 46]),
        "sequence": np.frombuffer(b"AIGPVLKAIGPVLKAIGPVLKAA" * 2, np.uint8),
        "backbone": backbone,
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)


def chains(path):
    """Write a chain with every residue type 29 times, atoms anywhere."""
    aatype = np.tile(np.arange(20), 29).astype(np.int8)
    mask = rc.ATOM37_MASK[aatype] > 0
    positions = RNG.integers(-900, 900, (int(mask.sum()), 3)).astype(np.int16)
    np.savez(
        path,
        length=np.array([len(aatype)], np.int32),
        aatype=aatype,
        residue_index=np.arange(len(aatype), dtype=np.int32),
        atom37_mask=np.packbits(mask),
        atom37_positions=positions,
    )
