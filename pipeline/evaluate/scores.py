"""The scores of a model against a reference, from residues that stand for each other."""

import dataclasses
import functools
from typing import Any

import numpy as np

from models import residue_constants as rc
from pipeline import compare
from pipeline.evaluate.pairs import Match, Pairs, pair_residues
from pipeline.protein import CA, Protein

SCHEMA = "foldline.evaluation/1"
# Pairs of names for atoms that chemistry, or the distances alone, cannot tell apart. Source: Mariani et al. 2013.
_TWO_NAMES = {
    "R": (("NH1", "NH2"),),
    "D": (("OD1", "OD2"),),
    "E": (("OE1", "OE2"),),
    "L": (("CD1", "CD2"),),
    "V": (("CG1", "CG2"),),
    "F": (("CD1", "CD2"), ("CE1", "CE2")),
    "Y": (("CD1", "CD2"), ("CE1", "CE2")),
}


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """How near a model is to a reference.

    Args:
        residues: Of the reference.
        paired: Residues of the reference with a CA in both.
        identity: Share of the paired residues that are of one type.
        matched_by: How the residues of each chain were paired.
        chains: The model's chain for each of the reference's.
        ca_lddt: Of CA atoms, 0-1; what the model lacks counts as wrong.
        lddt: Of all heavy atoms of the reference, 0-1.
        tm_score: Divided by the residues of the reference, 0-1.
        gdt_ts: The same, 0-1.
        ca_rmsd: Of paired CA atoms, superposed, angstrom; None for fewer than three.
        rmsd: Of all heavy atoms in both, superposed, angstrom.
        per_residue: A list for each column, one value for each residue of the reference.
    """

    residues: int
    paired: int
    identity: float
    matched_by: dict[str, str]
    chains: dict[str, str]
    ca_lddt: float
    lddt: float
    tm_score: float
    gdt_ts: float
    ca_rmsd: float | None
    rmsd: float | None
    per_residue: dict[str, list[Any]]


def evaluate(model: Protein, reference: Protein, match: Match = "auto") -> Evaluation:
    """Compare a model with a reference.

    Raises:
        PairingError: No residues can be paired.
    """
    pairs = pair_residues(model, reference, match)
    positions = _of_model(model, pairs, np.tile(np.arange(37), (len(reference), 1)))
    alternative = _of_model(model, pairs, _other_names()[reference.aatype])
    wanted = _real(reference)
    target = np.where(wanted[..., None], reference.atom37_positions, np.nan).astype(np.float64)
    both = np.flatnonzero(np.isfinite(positions[:, CA]).all(axis=1) & wanted[:, CA])
    length = int(wanted[:, CA].sum())
    ca_model, ca_target = positions[both, CA], target[both, CA]
    ca_lddt = compare.lddt(positions[wanted[:, CA], CA], target[wanted[:, CA], CA])
    residue, atom = np.nonzero(wanted)
    lddt = compare.lddt(positions[residue, atom], target[residue, atom], residue, alternative[residue, atom])
    enough = len(both) >= 3
    per_residue = {
        "chain": reference.chain_id.tolist(),
        "number": list(reference.author_number),
        "residue": [reference.residue_name(i) for i in range(len(reference))],
        "model_number": [model.author_number[i] if i >= 0 else None for i in pairs.model.tolist()],
        "ca_lddt": _spread(ca_lddt.per_residue, np.flatnonzero(wanted[:, CA]), len(reference)),
        "lddt": _spread(lddt.per_residue, np.arange(len(lddt.per_residue)), len(reference)),
        "ca_distance": _spread(_distances(ca_model, ca_target), both, len(reference)),
    }
    return Evaluation(
        residues=len(reference),
        paired=len(both),
        identity=round(float(np.mean(model.aatype[pairs.model[pairs.real]] == reference.aatype[pairs.real])), 4),
        matched_by=pairs.matched_by,
        chains=pairs.chains,
        ca_lddt=round(ca_lddt.score, 6),
        lddt=round(lddt.score, 6),
        tm_score=round(compare.tm_score(ca_model, ca_target, length), 6),
        gdt_ts=round(compare.gdt_ts(ca_model, ca_target) * len(both) / length, 6) if length else 0.0,
        ca_rmsd=round(compare.rmsd(ca_model, ca_target), 4) if enough else None,
        rmsd=_heavy_rmsd(positions, alternative, target) if enough else None,
        per_residue=per_residue,
    )


def _real(protein: Protein) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return protein.atom37_mask & np.isfinite(protein.atom37_positions).all(axis=-1)


@functools.cache
def _other_names() -> np.ndarray:
    """Return by residue type the atom37 column of each atom's other name (its own where it has one), shape (21, 37)."""
    table = np.tile(np.arange(37), (21, 1))
    for letter, names in _TWO_NAMES.items():
        for first, second in names:
            a, b = rc.ATOM37_ID[first], rc.ATOM37_ID[second]
            table[rc.RESTYPE_ID[letter], [a, b]] = b, a
    return table


def _of_model(model: Protein, pairs: Pairs, column: np.ndarray) -> np.ndarray:
    """Return the model's atoms for each residue of the reference, nan where there is none, shape (n, 37, 3)."""
    x = np.where(_real(model)[..., None], model.atom37_positions, np.nan).astype(np.float64)
    found = x[np.maximum(pairs.model, 0)[:, None], column]
    return np.where((pairs.model >= 0)[:, None, None], found, np.nan)


def _distances(model: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the distance of each CA after superposing all, angstrom, shape (pairs,)."""
    if len(model) < 3:
        return np.full(len(model), np.nan)
    rotation, translation = compare.superpose(model, target)
    return np.linalg.norm(model @ rotation.T + translation - target, axis=1)


def _heavy_rmsd(positions: np.ndarray, alternative: np.ndarray, target: np.ndarray) -> float | None:
    """Return the RMSD of all heavy atoms in both, under the names that are nearer after a superposition by name."""
    both = np.isfinite(positions).all(axis=-1) & np.isfinite(target).all(axis=-1)
    if both.sum() < 3:
        return None
    rotation, translation = compare.superpose(positions[both], target[both])
    squared = [np.sum((x @ rotation.T + translation - target) ** 2, axis=-1) for x in (positions, alternative)]
    renamed = np.nansum(squared[1], axis=1) < np.nansum(squared[0], axis=1)
    named = np.where(renamed[:, None, None] & np.isfinite(alternative), alternative, positions)
    return round(compare.rmsd(named[both], target[both]), 4)


def _spread(values: np.ndarray, rows: np.ndarray, n: int) -> list[float | None]:
    column: list[float | None] = [None] * n
    for row, value in zip(rows.tolist(), values.tolist(), strict=True):
        column[row] = round(value, 4) if np.isfinite(value) else None
    return column
