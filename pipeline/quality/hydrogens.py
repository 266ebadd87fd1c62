"""Hydrogens where the heavy atoms put them, for the clash score: those whose place no torsion of their own decides.

Hydroxyl and thiol hydrogens and those of histidine's nitrogens are left out: they turn, or come and go, to suit their
neighbours. Distances are those of the electron cloud, not of the nucleus, as in MolProbity (Deis et al. 2013).
"""

import dataclasses
from typing import Literal

import numpy as np

from models import residue_constants as rc
from pipeline.protein import Protein
from pipeline.quality.geometry import place, unit

ALIPHATIC, AROMATIC, POLAR = 0.97, 0.93, 0.86  # angstrom from the heavy atom
_TETRAHEDRAL = 109.5  # degrees
_HALF_HCH = np.deg2rad(54.0)
_STAGGERED = (60.0, 180.0, -60.0)

Kind = Literal["one of four", "two of four", "three of four", "one of three", "two of three"]


@dataclasses.dataclass(frozen=True)
class Rule:
    """How the hydrogens of one heavy atom are placed.

    Args:
        kind: How many hydrogens the atom has, and how many neighbours with them.
        atoms: The heavy atom, then its heavy neighbours; for a group that ends a chain, the atoms along it.
        distance: Angstrom.
    """

    kind: Kind
    atoms: tuple[str, ...]
    distance: float = ALIPHATIC


def _rules(text: str, kind: Kind, distance: float = ALIPHATIC) -> dict[str, list[Rule]]:
    """Read "L: CB CA CG, ..." into rules by residue letter."""
    found: dict[str, list[Rule]] = {}
    for line in text.strip().splitlines():
        letters, _, entries = line.partition(":")
        for letter in letters.strip():
            found[letter] = [Rule(kind, tuple(entry.split()), distance) for entry in entries.split(",")]
    return found


_TABLES = (
    _rules("ARNDCQEHILKMFPSTWYV: CA N C CB", "one of four"),
    _rules("I: CB CA CG1 CG2\nT: CB CA OG1 CG2\nV: CB CA CG1 CG2\nL: CG CB CD1 CD2", "one of four"),
    _rules(
        "R: CB CA CG, CG CB CD, CD CG NE\nNDHFWY: CB CA CG\nC: CB CA SG\nS: CB CA OG\nL: CB CA CG\nG: CA N C\n"
        "QE: CB CA CG, CG CB CD\nI: CG1 CB CD1\nK: CB CA CG, CG CB CD, CD CG CE, CE CD NZ\nM: CB CA CG, CG CB SD\n"
        "P: CB CA CG, CG CB CD, CD CG N",
        "two of four",
    ),
    _rules(
        "A: CB CA N\nI: CG2 CB CA, CD1 CG1 CB\nL: CD1 CG CB, CD2 CG CB\nM: CE SD CG\nT: CG2 CB CA\n"
        "V: CG1 CB CA, CG2 CB CA",
        "three of four",
    ),
    _rules("K: NZ CE CD", "three of four", POLAR),
    _rules(
        "H: CD2 CG NE2, CE1 ND1 NE2\nF: CD1 CG CE1, CD2 CG CE2, CE1 CD1 CZ, CE2 CD2 CZ, CZ CE1 CE2\n"
        "Y: CD1 CG CE1, CD2 CG CE2, CE1 CD1 CZ, CE2 CD2 CZ\n"
        "W: CD1 CG NE1, CE3 CD2 CZ3, CZ3 CE3 CH2, CZ2 CE2 CH2, CH2 CZ2 CZ3",
        "one of three",
        AROMATIC,
    ),
    _rules("R: NE CD CZ\nW: NE1 CD1 CE2", "one of three", POLAR),
    _rules("R: NH1 CZ NE, NH2 CZ NE\nN: ND2 CG CB\nQ: NE2 CD CG", "two of three", POLAR),
)
_COLUMN = rc.ATOM37_ID


@dataclasses.dataclass(frozen=True, eq=False)
class Placed:
    """Hydrogens.

    Args:
        residue: Index of the residue, shape (h,).
        parent: atom37 column of the heavy atom that carries each, shape (h,).
        polar: Whether that is a nitrogen, shape (h,).
        aromatic: Whether it belongs to a ring, shape (h,).
        positions: Angstrom, shape (h, 3).
    """

    residue: np.ndarray
    parent: np.ndarray
    polar: np.ndarray
    aromatic: np.ndarray
    positions: np.ndarray


def place_hydrogens(protein: Protein, bonded: np.ndarray) -> Placed:
    """Place the hydrogens of all residues whose heavy atoms are there.

    Args:
        protein: Hydrogens that it has are not looked at.
        bonded: Which residues have a peptide bond to the next, shape (n - 1,).
    """
    x = np.where(protein.atom37_mask[..., None], protein.atom37_positions, np.nan).astype(np.float64)
    parts = [_amide(protein, x, bonded)]
    for table in _TABLES:
        for letter, rules in table.items():
            rows = np.flatnonzero(protein.aatype == rc.RESTYPE_ID.get(letter, -1))
            parts += [_placed(rows, x, rule) for rule in rules if len(rows)]
    joined = [np.concatenate(column) for column in zip(*parts, strict=True)]
    real = np.isfinite(joined[4]).all(axis=1)
    return Placed(*(column[real] for column in joined))


_Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _amide(protein: Protein, x: np.ndarray, bonded: np.ndarray) -> _Part:
    """Place H of the peptide nitrogens."""
    rows = np.flatnonzero(bonded & ~np.isin(protein.aatype[1:], [rc.RESTYPE_ID["P"], rc.UNKNOWN])) + 1
    n, ca, c = x[rows, _COLUMN["N"]], x[rows, _COLUMN["CA"]], x[rows - 1, _COLUMN["C"]]
    return _part(rows, Rule("one of three", ("N",), POLAR), _opposite(n, [ca, c], POLAR)[:, None])


def _placed(rows: np.ndarray, x: np.ndarray, rule: Rule) -> _Part:
    centre, *others = (x[rows, _COLUMN[name]] for name in rule.atoms)
    if rule.kind in ("one of four", "one of three"):
        found = _opposite(centre, others, rule.distance)[:, None]
    elif rule.kind == "two of four":
        found = _two_of_four(centre, others[0], others[1], rule.distance)
    else:
        turns, bend = (_STAGGERED, _TETRAHEDRAL) if rule.kind == "three of four" else ((0.0, 180.0), 120.0)
        found = np.stack([place(others[1], others[0], centre, (rule.distance, bend, turn)) for turn in turns], axis=1)
    return _part(rows, rule, found)


def _opposite(centre: np.ndarray, others: list[np.ndarray], distance: float) -> np.ndarray:
    return centre - distance * unit(np.sum([unit(other - centre) for other in others], axis=0))


def _two_of_four(centre: np.ndarray, first: np.ndarray, second: np.ndarray, distance: float) -> np.ndarray:
    a, b = unit(first - centre), unit(second - centre)
    out, across = -unit(a + b), unit(np.cross(a, b))
    sides = [np.cos(_HALF_HCH) * out + side * np.sin(_HALF_HCH) * across for side in (1, -1)]
    return np.stack([centre + distance * side for side in sides], axis=1)


def _part(rows: np.ndarray, rule: Rule, found: np.ndarray) -> _Part:
    """Return residue, parent, polar, aromatic and positions of hydrogens (rows, hydrogens of each, 3)."""
    count = found.shape[0] * found.shape[1]
    return (
        np.repeat(rows, found.shape[1]),
        np.full(count, _COLUMN[rule.atoms[0]]),
        np.full(count, rule.distance == POLAR),
        np.full(count, rule.distance == AROMATIC),
        found.reshape(-1, 3),
    )
