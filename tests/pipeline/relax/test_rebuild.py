"""Backbones from CA atoms, missing oxygens, and bonds through rings."""

import dataclasses

import numpy as np
import pytest

from models import residue_constants as rc
from pipeline import quality
from pipeline.protein import read_structure
from pipeline.relax.rebuild import rebuild
from pipeline.relax.rings import piercings

N, CA, C, OXYGEN = (rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O"))


@pytest.fixture(scope="module")
def bpti(golden):
    return read_structure(golden / "1bpi_A.pdb")


def only(protein, columns):
    mask = np.zeros_like(protein.atom37_mask)
    mask[:, columns] = protein.atom37_mask[:, columns]
    return dataclasses.replace(protein, atom37_mask=mask)


def rms(first, second, column):
    return float(
        np.sqrt(((first.atom37_positions[:, column] - second.atom37_positions[:, column]) ** 2).sum(-1).mean())
    )


def test_from_ca_alone(bpti):
    built = rebuild(only(bpti, [CA]), [slice(0, 58)])
    found = built.protein
    assert quality.assess(found)["missing_atoms"] == 0
    assert quality.assess(found)["d_residues"] == 0
    np.testing.assert_array_equal(found.atom37_positions[:, CA], bpti.atom37_positions[:, CA])
    assert rms(found, bpti, N) < 0.4
    assert rms(found, bpti, C) < 0.6
    assert rms(found, bpti, OXYGEN) < 1.2
    np.testing.assert_array_equal(built.given, only(bpti, [CA]).atom37_mask)
    assert len(built.changes) == 58
    assert "A:ALA16 got N C CB O" in built.changes


def test_rigid_motion_moves_what_is_built(bpti):
    q, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    q *= np.sign(np.linalg.det(q))
    trace = only(bpti, [CA])
    moved = dataclasses.replace(trace, atom37_positions=(trace.atom37_positions @ q.T + 11).astype(np.float32))
    first, second = (rebuild(p, [slice(0, 58)]).protein for p in (trace, moved))
    assert rms(dataclasses.replace(first, atom37_positions=first.atom37_positions @ q.T + 11), second, OXYGEN) < 0.01


@pytest.mark.parametrize("length", [2, 3, 5])
def test_short_traces(bpti, length):
    found = rebuild(only(bpti, [CA]), [slice(0, length)]).protein
    assert found.atom37_mask[:length, [N, CA, C, OXYGEN]].all()
    assert np.isfinite(found.atom37_positions).all()


def test_oxygens(bpti):
    found = rebuild(only(bpti, [N, CA, C]), [slice(0, 58)]).protein
    inner = np.linalg.norm(found.atom37_positions[:-1, OXYGEN] - bpti.atom37_positions[:-1, OXYGEN], axis=1)
    assert inner.max() < 0.3


def ring_pierced(protein):
    """Put the last bond of the lysine through the ring of the tyrosine of Trp-cage."""
    found = protein.atom37_positions.copy()
    ring = [rc.ATOM37_ID[name] for name in ("CG", "CD1", "CE1", "CZ", "CE2", "CD2")]
    lysine = int(np.flatnonzero(protein.aatype == rc.RESTYPE_ID["K"])[0])
    centre = protein.atom37_positions[2, ring].mean(axis=0)
    normal = np.linalg.svd(protein.atom37_positions[2, ring] - centre)[2][2]
    found[lysine, rc.ATOM37_ID["CE"]] = centre - 0.75 * normal
    found[lysine, rc.ATOM37_ID["NZ"]] = centre + 0.75 * normal
    return dataclasses.replace(protein, atom37_positions=found), lysine


def test_bonds_through_rings(golden):
    protein = read_structure(golden / "1l2y_A.pdb")
    assert piercings(protein, [slice(0, 20)]) == []
    pierced, lysine = ring_pierced(protein)
    (found,) = {(p.ring, p.bond, p.side_chain) for p in piercings(pierced, [slice(0, 20)])}
    assert found == (2, lysine, True)
    built = rebuild(pierced, [slice(0, 20)])
    assert piercings(built.protein, [slice(0, 20)]) == []
    assert "A:LYS8 got a new side chain: a bond ran through a ring" in built.changes
    assert built.findings == ()
    assert not built.given[lysine, rc.ATOM37_ID["NZ"]]
