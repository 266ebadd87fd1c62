"""The atoms of a protein in the order of the files, and those beside it: what both writers go through."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from models import residue_constants as rc
from pipeline.protein import Protein
from pipeline.structure_file import Atom


class Written(NamedTuple):
    """One atom of the record, in the order of the files."""

    residue: int
    name: str
    element: str
    position: np.ndarray


def written_atoms(protein: Protein) -> list[Written]:
    """List the atoms residue by residue, heavy atoms first, then hydrogens."""
    hydrogens: dict[int, list[Written]] = {}
    if protein.hydrogens is not None:
        extra = protein.hydrogens
        for i, name, position in zip(extra.residue, extra.names, extra.positions, strict=True):
            hydrogens.setdefault(int(i), []).append(Written(int(i), name, "H", position))
    for i, atom in of_residues(protein):
        hydrogens.setdefault(i, []).append(Written(i, atom.name, atom.element, np.array(atom.position)))
    atoms: list[Written] = []
    for i in range(len(protein)):
        for k in np.flatnonzero(protein.atom37_mask[i]):
            name = rc.ATOM37[k]
            atoms.append(Written(i, name, name[0], protein.atom37_positions[i, k]))
        atoms += hydrogens.get(i, [])
    return atoms


def of_residues(protein: Protein) -> Iterator[tuple[int, Atom]]:
    """Give the other atoms that belong to residues of the chains, with the residue's index."""
    rows = {(str(protein.chain_id[i]), protein.author_number[i], name): i for i, name in protein.names.items()}
    for atom in protein.others:
        if (atom.chain, atom.number, atom.residue) in rows:
            yield rows[atom.chain, atom.number, atom.residue], atom


def beside(protein: Protein) -> list[Atom]:
    """Return the other atoms that belong to no residue of the chains."""
    inside = {id(atom) for _, atom in of_residues(protein)}
    return [atom for atom in protein.others if id(atom) not in inside]


def split_number(number: str) -> tuple[str, str]:
    """Return the number and the insertion code of an author's number."""
    digits = re.match(r"-?\d+", number)
    end = digits.end() if digits else len(number)
    return number[:end], number[end:]
