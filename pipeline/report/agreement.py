"""How much the predictions of several models and seeds agree with the best one."""

import dataclasses

import numpy as np

from pipeline import compare
from pipeline.protein import CA
from pipeline.report.evidence import Evidence
from pipeline.report.viewer import known_atoms

ENOUGH = 3  # atoms that define a superposition


@dataclasses.dataclass(frozen=True)
class Agreement:
    """One other prediction beside the best.

    Args:
        name: Model and seed.
        lddt: CA-lDDT to the best prediction, 0-1.
        rmsd: CA atoms to it, superposed, angstrom.
        per_residue: CA-lDDT of each residue, shape (residues,); nan where it has none.
        ca: Superposed on it, shape (residues, 3), angstrom; nan where there is none.
    """

    name: str
    lddt: float
    rmsd: float
    per_residue: np.ndarray
    ca: np.ndarray


def agreement(evidence: Evidence) -> list[Agreement]:
    """Compare each other prediction with the best one; those of another length are left out."""
    best = evidence.predicted
    if best is None:
        return []
    mask = known_atoms(best)[:, CA]
    reference = np.where(mask[:, None], best.atom37_positions[:, CA], np.nan).astype(np.float64)
    found = []
    for other in evidence.others:
        if other.ca.shape == reference.shape:
            both = mask & np.isfinite(other.ca).all(axis=1)
            if both.sum() >= ENOUGH:
                found.append(_compared(other.name, other.ca.astype(np.float64), reference, both))
    return found


def _compared(name: str, ca: np.ndarray, reference: np.ndarray, both: np.ndarray) -> Agreement:
    rotation, translation = compare.superpose(ca[both], reference[both])
    placed = ca @ rotation.T + translation
    score = compare.lddt(ca[both], reference[both])
    per_residue = np.full(len(ca), np.nan)
    per_residue[both] = score.per_residue
    rmsd = compare.rmsd(placed[both], reference[both], superposed=False)
    return Agreement(name, score.score, rmsd, per_residue, placed)
