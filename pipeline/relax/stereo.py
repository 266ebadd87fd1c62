"""Which hands and which peptide bonds distorted coordinates stand for. NumPy only."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from models import residue_constants as rc
from pipeline import quality
from pipeline.protein import Protein
from pipeline.quality.geometry import length, torsion
from pipeline.relax.trace import attached
from pipeline.side_chains.rotamers import backbone_frames

MALFORMED = 0.12  # angstrom, root mean square off the ideal of the distances about an atom with a hand
CIS_PROLINE, CIS_OTHER = 0.05, 0.0005  # how often a peptide bond is cis (Jabs et al. 1999, J. Mol. Biol. 286, 291)
LEAST_NOISE = 0.03  # angstrom, of coordinates; a better fit than this tells nothing
TWISTED = 30.0  # degrees from 0 (cis) and 180 (trans)
_N, _CA, _C, _O, _CB = (rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O", "CB"))
# Three neighbours and the centre; seen from the fourth neighbour, the hydrogen, the three run clockwise or not alike.
_ABOUT_CA = ("N", "C", "CB", "CA")
_ABOUT_CB = {"I": ("CA", "CG1", "CG2", "CB"), "T": ("CA", "OG1", "CG2", "CB")}
_DISTANCES = ((0, 3), (1, 3), (2, 3), (0, 1), (0, 2), (1, 2))  # of those four
# Of a peptide bond (Engh & Huber 1991): lengths in angstrom, angles in degrees.
_CA_C, _C_O, _C_N, _N_CA = 1.525, 1.231, 1.329, 1.459
_CA_C_O, _CA_C_N, _C_N_CA = 120.1, 116.2, 121.7


@dataclasses.dataclass(frozen=True, eq=False)
class Torsions:
    """Torsions that a structure is to have.

    Args:
        residue: Of each of the four atoms, shape (t, 4).
        column: Their atom37 columns, shape (t, 4).
        angle: Degrees, shape (t,).
        peptide: Whether it is that of a peptide bond, else of a hand, shape (t,).
    """

    residue: np.ndarray
    column: np.ndarray
    angle: np.ndarray
    peptide: np.ndarray

    def peptides(self) -> "Torsions":
        """Return those of the peptide bonds alone."""
        chosen = self.peptide
        return Torsions(self.residue[chosen], self.column[chosen], self.angle[chosen], chosen[chosen])

    def off(self, protein: Protein) -> np.ndarray:
        """Return how far each torsion of a protein is from what it is to be, degrees, shape (t,)."""
        atoms = protein.atom37_positions[self.residue, self.column].astype(np.float64)
        found = torsion(atoms[:, 0], atoms[:, 1], atoms[:, 2], atoms[:, 3])
        return np.asarray(np.abs(np.mod(found - self.angle + 180, 360) - 180))


@dataclasses.dataclass(frozen=True, eq=False)
class _Hands:
    """Centres with a hand; `malformed` where distances about them are no residue's, `wrong` where the hand is."""

    residue: np.ndarray
    column: np.ndarray  # (h, 4)
    malformed: np.ndarray
    wrong: np.ndarray


def right_hands(protein: Protein, runs: Sequence[slice]) -> tuple[Protein, tuple[str, ...]]:
    """Put CB where an L residue has it, in residues that are D by distortion; well-formed D residues stay."""
    hands = _hands(protein, runs)
    rows = np.sort(hands.residue[hands.wrong & hands.malformed & (hands.column[:, 3] == _CA)])
    if not len(rows):
        return protein, ()
    rotation, origin = backbone_frames(protein.atom37_positions)
    xyz = protein.atom37_positions.copy()
    for i in rows:
        local = rc.ATOM14_LOCAL[protein.aatype[i], rc.RESIDUE_ATOMS[rc.RESTYPES[protein.aatype[i]]].index("CB")]
        xyz[i, _CB] = rotation[i] @ local + origin[i]
    changes = tuple(
        f"{protein.label(int(i))} was distorted into a D residue: CB was put on the other side" for i in rows
    )
    return dataclasses.replace(protein, atom37_positions=xyz), changes


def intended(protein: Protein, runs: Sequence[slice]) -> Torsions:
    """Return the hands and the peptide bonds that a structure is to have.

    Well-formed centres of the other hand (D residues, allo-isoleucines) are left out. A peptide bond is to be cis where
    an ideal cis one fits its five atoms so much better than a trans one that this outweighs how rare it is.
    """
    hands = _hands(protein, runs)
    kept = ~hands.wrong | hands.malformed
    rows, omega = _peptides(protein, runs)
    before = np.stack([rows - 1, rows - 1, rows, rows], axis=1)
    return Torsions(
        residue=np.concatenate([np.repeat(hands.residue[kept, None], 4, axis=1), before]),
        column=np.concatenate([hands.column[kept], np.tile([_CA, _C, _N, _CA], (len(rows), 1))]),
        angle=np.concatenate([np.full(int(kept.sum()), _hand_angle()), omega]),
        peptide=np.repeat([False, True], [int(kept.sum()), len(rows)]),
    )


def unusual(protein: Protein) -> tuple[str, ...]:
    """Name residues of the wrong hand, cis and twisted peptide bonds."""
    chain = quality.backbone(protein)
    twist = np.abs(chain.omega)
    found = [f"{protein.label(int(i))} is a D residue" for i in np.flatnonzero(chain.d_residue)]
    for i in np.flatnonzero(twist <= 180 - TWISTED):
        kind = "cis" if twist[i] < TWISTED else "twisted"
        found.append(f"the peptide bond before {protein.label(int(i))} is {kind}")
    return tuple(found)


def _hands(protein: Protein, runs: Sequence[slice]) -> _Hands:
    inside = np.zeros(len(protein), bool)
    for run in runs:
        inside[run] = True
    parts = [_hands_of(protein, inside & (protein.aatype == k), letter) for k, letter in enumerate(rc.RESTYPES)]
    found = [part for parts_of_type in parts for part in parts_of_type]
    return _Hands(*(np.concatenate(column) for column in zip(*found, strict=True)))


_Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _hands_of(protein: Protein, chosen: np.ndarray, letter: str) -> list[_Part]:
    """Return the fields of `_Hands` for the chosen residues (n,), all of one type, for each centre that it has."""
    centres = [] if letter == "G" else [_ABOUT_CA, *([_ABOUT_CB[letter]] if letter in _ABOUT_CB else [])]
    parts = []
    for names in centres:
        columns = np.array([rc.ATOM37_ID[name] for name in names])
        rows = np.flatnonzero(chosen & protein.atom37_mask[:, columns].all(axis=1))
        x = protein.atom37_positions[rows][:, columns].astype(np.float64)
        found = np.stack([length(x[:, a] - x[:, b]) for a, b in _DISTANCES], axis=1)
        malformed = np.sqrt(np.mean((found - _ideal_distances(letter, names)) ** 2, axis=1)) > MALFORMED
        first, second, third = (x[:, k] - x[:, 3] for k in range(3))
        wrong = np.einsum("ij,ij->i", np.cross(first, second), third) < 0
        parts.append((rows, np.tile(columns, (len(rows), 1)), malformed, wrong))
    return parts


@functools.cache
def _ideal_distances(letter: str, names: tuple[str, ...]) -> np.ndarray:
    """Return the ideal distances of a centre and its neighbours, angstrom, in the order of `_DISTANCES`."""
    table = {frozenset(pair): mean for pair, (mean, _) in rc.bonded_distances(letter).items()}
    return np.array([table[frozenset((names[a], names[b]))] for a, b in _DISTANCES])


@functools.cache
def _hand_angle() -> float:
    """Return the torsion of three neighbours and the centre where the hand is right, degrees."""
    alanine, names = rc.RESTYPE_ID["A"], rc.RESIDUE_ATOMS["A"]
    atoms = [rc.ATOM14_LOCAL[alanine, names.index(name)].astype(np.float64)[None] for name in _ABOUT_CA]
    return float(torsion(*atoms)[0])


def _peptides(protein: Protein, runs: Sequence[slice]) -> tuple[np.ndarray, np.ndarray]:
    """Return the residues after whole peptide bonds, and the omega that each is to have, degrees, two (p,)."""
    rows = np.array([i for run in runs for i in range(run.start + 1, run.stop)], np.int64)
    mask, x = protein.atom37_mask, protein.atom37_positions.astype(np.float64)
    rows = rows[mask[rows - 1][:, [_CA, _C, _O]].all(axis=1) & mask[rows][:, [_N, _CA]].all(axis=1)]
    if not len(rows):
        return rows, np.zeros(0)
    atoms = np.concatenate([x[rows - 1][:, [_CA, _C, _O]], x[rows][:, [_N, _CA]]], axis=1)
    trans, cis = (_misfit(atoms, _peptide(omega)) for omega in (180.0, 0.0))
    noise = max(float(np.median(np.minimum(trans, cis))) / (3 * 5 - 6), LEAST_NOISE**2)
    share = np.where(protein.aatype[rows] == rc.RESTYPE_ID["P"], CIS_PROLINE, CIS_OTHER)
    is_cis = (trans - cis) / (2 * noise) > np.log((1 - share) / share)
    return rows, np.where(is_cis, 0.0, 180.0)


@functools.cache
def _peptide(omega: float) -> np.ndarray:
    """Return CA, C, O, N and CA of an ideal peptide, angstrom, shape (5, 3)."""
    bend = np.deg2rad(_CA_C_N)
    n, c = np.zeros(3), np.array([_C_N, 0.0, 0.0])
    ca = c + _CA_C * np.array([-np.cos(bend), np.sin(bend), 0.0])
    after = attached(ca, c, n, (_N_CA, _C_N_CA, omega))
    oxygen = attached(after, n, c, (_C_O, 360 - _CA_C_N - _CA_C_O, omega - 180))
    return np.stack([ca, c, oxygen, n, after])


def peptide_distances(omega: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the pairs among CA, C, O, N and CA of an ideal peptide, as two arrays (10,), and distances, angstrom."""
    first, second = np.triu_indices(5, 1)
    atoms = _peptide(omega)
    return first, second, length(atoms[first] - atoms[second])


def _misfit(atoms: np.ndarray, ideal: np.ndarray) -> np.ndarray:
    """Return the sum of squares between sets of atoms (p, a, 3) and ideal ones (a, 3) laid on them, angstrom^2, (p,).

    Source: Kabsch 1976, Acta Cryst. A32, 922.
    """
    x, y = atoms - atoms.mean(axis=1, keepdims=True), ideal - ideal.mean(axis=0)
    covariance = np.einsum("pai,aj->pij", x, y)
    overlap = np.linalg.svd(covariance, compute_uv=False)
    overlap[:, 2] *= np.sign(np.linalg.det(covariance))
    return np.asarray((x**2).sum(axis=(1, 2)) + (y**2).sum() - 2 * overlap.sum(axis=1))
