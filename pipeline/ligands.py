"""What stands beside a protein and does not move: atoms of ligands and metals that others must keep out of."""

import numpy as np

from pipeline.protein import Protein

WATERS = ("HOH", "DOD", "WAT")


def obstacles(protein: Protein) -> tuple[tuple[str, ...], np.ndarray]:
    """Return elements and places (m, 3), angstrom, of the heavy atoms beside a protein, waters left out."""
    atoms = [
        atom
        for atom in protein.others
        if atom.residue not in WATERS and atom.element.upper() not in ("H", "D") and np.isfinite(atom.position).all()
    ]
    places = np.array([atom.position for atom in atoms], np.float64).reshape(-1, 3)
    return tuple(atom.element.upper() for atom in atoms), places
