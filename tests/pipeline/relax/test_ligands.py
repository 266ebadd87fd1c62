"""Ligands: side chains are built beside them and do not move into them; what is bonded to them stays."""

import dataclasses

import numpy as np
import pytest

from models import residue_constants as rc
from pipeline.protein import read_structure
from pipeline.relax.settings import Settings
from pipeline.relax.stage import relax
from pipeline.structure_file import Atom

RING = [rc.ATOM37_ID[name] for name in ("CG", "CD1", "CE1", "CZ", "CE2", "CD2")]


@pytest.fixture(scope="module")
def cage(golden):
    return read_structure(golden / "1l2y_A.pdb")


def with_ligand(protein, *places, residue="LIG"):
    atoms = [
        Atom("B", "1", None, residue, f"C{k}", "C", tuple(map(float, place)), 0.0) for k, place in enumerate(places)
    ]
    return dataclasses.replace(protein, others=tuple(atoms))


def nearest(protein, place):
    return np.linalg.norm(protein.atom37_positions - place, axis=-1)[protein.atom37_mask].min()


def without_side_chain(protein, row):
    mask = protein.atom37_mask.copy()
    mask[row, 5:-1] = mask[row, rc.ATOM37_ID["CB"]] = False
    mask[row, rc.ATOM37_ID["O"]] = True
    return dataclasses.replace(protein, atom37_mask=mask)


def test_a_side_chain_is_built_beside_a_ligand(cage):
    bare = without_side_chain(cage, 2)
    alone = relax(bare, Settings()).protein
    place = alone.atom37_positions[2, RING].mean(axis=0)  # where the ring is, if nothing else is there
    with_it = with_ligand(bare, place)
    result = relax(with_it, Settings())
    assert result.record.status == "relaxed"
    assert nearest(alone, place) < 1.5
    assert nearest(result.protein, place) > 2.9
    assert result.protein.others == with_it.others
    drowned = relax(with_ligand(bare, place, residue="HOH"), Settings()).protein
    np.testing.assert_array_equal(drowned.atom37_positions, alone.atom37_positions)  # waters give way


def test_no_atom_comes_nearer_to_a_ligand_than_it_was(cage):
    """Half of the atoms are drawn towards the ligand, by restraints that hold them in it."""
    end = cage.atom37_positions[7, rc.ATOM37_ID["NZ"]]
    out = end - cage.atom37_positions[7, rc.ATOM37_ID["CB"]]
    bonded, apart = end + 1.5 * out / np.linalg.norm(out), cage.atom37_positions[2, rc.ATOM37_ID["OH"]] + [0, 0, 2.0]
    protein = with_ligand(cage, bonded, apart)
    result = relax(protein, Settings())
    assert result.record.status == "relaxed"
    for place in (bonded, apart):
        assert nearest(result.protein, place) > min(nearest(cage, place), 2.9) - 0.15
    assert result.record.ca_rmsd < 0.3  # a bond to a ligand pushes nothing away
