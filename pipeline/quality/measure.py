"""The whole quality of a structure: per residue and as a summary, as a record."""

import dataclasses
from typing import Any

import numpy as np

from pipeline.protein import Protein
from pipeline.quality import ramachandran
from pipeline.quality.accessibility import EXPOSED, accessible_surface, relative_surface
from pipeline.quality.assessment import counts, find, finite
from pipeline.quality.clashes import Clashes
from pipeline.quality.secondary import secondary_structure

SCHEMA = "foldline.quality/1"
_HELIX, _STRAND = "HGI", "EB"


@dataclasses.dataclass(frozen=True)
class Quality:
    """The quality of one structure.

    Args:
        summary: Counts, shares and sizes, by name.
        residues: One value for each residue, by the name of the column; None where there is none.
        overlaps: Pairs of atoms that the clash score counts, the worst first: both names and the overlap in angstrom.
    """

    summary: dict[str, Any]
    residues: dict[str, list[Any]]
    overlaps: list[tuple[str, str, float]]


def measure(protein: Protein) -> Quality:
    """Measure everything; coordinates may be anything."""
    found = find(protein)
    structure = secondary_structure(protein)
    surface = accessible_surface(protein)
    relative = relative_surface(protein.aatype, surface)
    clashing, overlap = found.clashes.of_residues(len(protein))
    level = found.level
    broken = np.isin(np.arange(len(protein)), found.chain.breaks)
    summary = counts(found) | {
        "ramachandran_residues": int(np.sum(level >= 0)),
        "rotamer_residues": int(np.sum(np.isfinite(found.rotamer))),
        "atoms_with_hydrogens": found.clashes.atoms,
        "overlaps": len(found.clashes.residues),
        "helix": round(float(np.mean([letter in _HELIX for letter in structure])), 4),
        "strand": round(float(np.mean([letter in _STRAND for letter in structure])), 4),
        "accessible_surface": round(float(surface.sum()), 1),
        "exposed": round(float(np.mean(relative >= EXPOSED)), 4),
    }
    residues = {
        "chain": protein.chain_id.tolist(),
        "number": list(protein.author_number),
        "residue": [protein.residue_name(i) for i in range(len(protein))],
        "secondary": list(structure),
        "phi": numbers(found.chain.phi, 1),
        "psi": numbers(found.chain.psi, 1),
        "omega": numbers(found.chain.omega, 1),
        "peptide": found.peptide.tolist(),
        "ramachandran": [ramachandran.LEVELS[k] if k >= 0 else None for k in level.tolist()],
        "ramachandran_score": numbers(found.ramachandran, 4),
        **{f"chi{k + 1}": numbers(found.chi[:, k], 1) for k in range(4)},
        "rotamer_score": numbers(found.rotamer, 4),
        "rotamer_outlier": found.rotamer_outlier.tolist(),
        "bond_outliers": found.bonds.tolist(),
        "angle_outliers": found.angles.tolist(),
        "plane_deviation": numbers(found.plane, 3),
        "cb_deviation": numbers(found.cb, 3),
        "d_residue": found.chain.d_residue.tolist(),
        "violation": found.violations.residues.tolist(),
        "overlaps": clashing.tolist(),
        "worst_overlap": numbers(overlap, 2),
        "broken_after": broken.tolist(),
        "missing_atoms": found.missing.tolist(),
        "accessible_surface": numbers(surface, 1),
        "relative_surface": numbers(relative, 3),
    }
    return Quality(summary, residues, _overlaps(protein, found.clashes))


def _overlaps(protein: Protein, clashes: Clashes) -> list[tuple[str, str, float]]:
    rows = zip(clashes.residues.tolist(), clashes.pairs, clashes.overlap.tolist(), strict=True)
    named = [
        (f"{protein.label(i)} {a}", f"{protein.label(j)} {b}", round(overlap, 2)) for (i, j), (a, b), overlap in rows
    ]
    return sorted(named, key=lambda row: (-row[2], row))


def numbers(values: np.ndarray, digits: int) -> list[float | None]:
    """Round numbers for a record; None where there is none."""
    return [finite(value, digits) for value in values.tolist()]
