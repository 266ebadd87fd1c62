"""MolProbity-style clash score: overlaps of 0.4 angstrom and more between atoms not bonded, hydrogens included.

Radii, the overlap, the allowance for hydrogen bonds and the score for each 1,000 atoms follow Word et al. 1999 (J. Mol.
Biol. 285, 1711) and Chen et al. 2010. Theirs turns hydroxyls and flips amides before it counts: `docs/quality.md`.
As in Probe what counts is the overlap that dots of the surfaces see.
"""

import dataclasses
import functools

import numpy as np

from models import residue_constants as rc
from pipeline.protein import Protein
from pipeline.quality.geometry import pairs_within, unit
from pipeline.quality.hydrogens import place_hydrogens

OVERLAP = 0.4  # angstrom
HYDROGEN_BOND = 0.6  # angstrom more, between a polar hydrogen and what accepts it
SALT_BRIDGE = 0.8  # angstrom more, where both are charged
DISULFIDE = 3.0  # angstrom between sulphurs that are taken to be bonded

_RADIUS = {"C": 1.70, "N": 1.55, "O": 1.40, "S": 1.80}  # angstrom
_CARBONYL, _H, _H_SMALL = 1.65, 1.22, 1.05
_CARBONYLS = {("N", "CG"), ("D", "CG"), ("Q", "CD"), ("E", "CD")}
_CHARGED_NITROGENS = {("K", "NZ"), ("R", "NE"), ("R", "NH1"), ("R", "NH2")}
_CHARGED_OXYGENS = {("D", "OD1"), ("D", "OD2"), ("E", "OE1"), ("E", "OE2")}
# Heavy atoms whose hydrogens are not placed but may point at an acceptor: hydroxyls, thiols, histidine's nitrogens.
_TURNING = {("S", "OG"), ("T", "OG1"), ("Y", "OH"), ("C", "SG"), ("H", "ND1"), ("H", "NE2")}
_HEAVY_BONDS, _HYDROGEN_BONDS = 3, 4  # atoms that many bonds apart, or nearer, do not clash
_MOST_BONDS = 5  # of an atom, itself included; a bent disulphide may seem to have one more
_CHUNK = 40_000  # pairs
_CERTAIN = 1.0  # angstrom; so deep an overlap counts wherever the two meet
_TILTS, _TURNS = np.deg2rad([12.0, 24.0, 36.0]), 8  # of the dots about the line between two atoms
_NOWHERE = 1e-9  # angstrom; gives two atoms in one place a line
_DOT_CHUNK = 500  # pairs

_N, _C, _SG, _OXT = (rc.ATOM37_ID[name] for name in ("N", "C", "SG", "OXT"))


@dataclasses.dataclass(frozen=True, eq=False)
class Clashes:
    """Overlapping pairs of atoms.

    Args:
        residues: Of the two atoms, shape (clashes, 2).
        overlap: Angstrom, the allowance for hydrogen bonds taken off, shape (clashes,).
        atoms: How many atoms there are, hydrogens included.
        pairs: Names of the two atoms; a hydrogen is named H and its atom.
    """

    residues: np.ndarray
    overlap: np.ndarray
    atoms: int
    pairs: tuple[tuple[str, str], ...]

    @property
    def score(self) -> float:
        """Clashes for each 1,000 atoms."""
        return 1000 * len(self.residues) / self.atoms if self.atoms else 0.0

    def of_residues(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Return how many clashes each residue is in, and its worst overlap in angstrom (0 where none), two (n,)."""
        worst = np.zeros(n)
        for side in (0, 1):
            np.maximum.at(worst, self.residues[:, side], self.overlap)
        within = self.residues[:, 0] == self.residues[:, 1]
        count = np.bincount(self.residues[:, 0], minlength=n)
        return count + np.bincount(self.residues[~within, 1], minlength=n), worst


@dataclasses.dataclass(frozen=True, eq=False)
class _Atoms:
    """Heavy atoms, then hydrogens; `carrier` is the heavy atom of each (itself for a heavy one)."""

    positions: np.ndarray
    residue: np.ndarray
    column: np.ndarray
    carrier: np.ndarray
    radius: np.ndarray
    hydrogen: np.ndarray
    donor: np.ndarray
    acceptor: np.ndarray
    charged: np.ndarray

    def __len__(self) -> int:
        return len(self.residue)

    def name(self, i: int) -> str:
        return ("H " if self.hydrogen[i] else "") + rc.ATOM37[self.column[i]]


def find_clashes(protein: Protein, bonded: np.ndarray) -> Clashes:
    """Find overlaps between atoms more than three bonds apart (four where one is a hydrogen).

    Args:
        protein: Hydrogens that it has are not looked at: those that its heavy atoms ask for are placed.
        bonded: Which residues have a peptide bond to the next, shape (n - 1,).
    """
    atoms = _atoms(protein, bonded)
    i, j = pairs_within(atoms.positions, 2 * max(_RADIUS.values()) - OVERLAP)
    overlap = atoms.radius[i] + atoms.radius[j] - np.linalg.norm(atoms.positions[i] - atoms.positions[j], axis=1)
    overlap -= _allowance(atoms, i, j)
    close = np.flatnonzero(overlap >= OVERLAP)
    i, j, overlap = i[close], j[close], overlap[close]
    neighbours = _neighbours(protein, atoms, bonded)
    apart = ~_near_in_bonds(atoms, neighbours, i, j)
    i, j, overlap = i[apart], j[apart], overlap[apart]
    unsure = np.flatnonzero(overlap < _CERTAIN)
    a, b = i[unsure], j[unsure]
    overlap[unsure] = np.maximum(_reach(atoms, neighbours, a, b), _reach(atoms, neighbours, b, a))
    counts = overlap >= OVERLAP
    i, j, overlap = i[counts], j[counts], overlap[counts]
    names = tuple((atoms.name(a), atoms.name(b)) for a, b in zip(i, j, strict=True))
    return Clashes(np.stack([atoms.residue[i], atoms.residue[j]], axis=1), overlap, len(atoms), names)


def _atoms(protein: Protein, bonded: np.ndarray) -> _Atoms:
    with np.errstate(invalid="ignore"):
        real = protein.atom37_mask & np.isfinite(protein.atom37_positions).all(axis=-1)
    residue, column = np.nonzero(real & (protein.aatype != rc.UNKNOWN)[:, None])
    number = np.full(protein.atom37_mask.shape, -1)
    number[residue, column] = np.arange(len(residue))
    h = place_hydrogens(protein, bonded)
    types = protein.aatype[residue]
    heavy_radius, donates, accepts, charged = (table[types, column] for table in _tables())
    charged_h = _tables()[3][protein.aatype[h.residue], h.parent] & h.polar
    parent = number[h.residue, h.parent]
    small = h.polar | h.aromatic
    heavy, extra = np.zeros(len(residue), bool), np.ones(len(parent), bool)
    return _Atoms(
        positions=np.concatenate([protein.atom37_positions[residue, column].astype(np.float64), h.positions]),
        residue=np.concatenate([residue, h.residue]),
        column=np.concatenate([column, h.parent]),
        carrier=np.concatenate([np.arange(len(residue)), parent]),
        radius=np.concatenate([heavy_radius, np.where(small, _H_SMALL, _H)]),
        hydrogen=np.concatenate([heavy, extra]),
        donor=np.concatenate([donates, h.polar]),
        acceptor=np.concatenate([accepts, ~extra]),
        charged=np.concatenate([charged, charged_h]),
    )


@functools.cache
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return, by residue type and atom37 column, radius, may it donate, accept, is it charged: four (21, 37)."""
    radius = np.zeros((21, 37))
    donates, accepts, charged = np.zeros((3, 21, 37), bool)
    for k, letter in enumerate(rc.RESTYPES_X):
        for column, name in enumerate(rc.ATOM37):
            carbonyl = name == "C" or (letter, name) in _CARBONYLS
            radius[k, column] = _CARBONYL if carbonyl else _RADIUS[name[0]]
            donates[k, column] = (letter, name) in _TURNING
            accepts[k, column] = name[0] in "OS" or (letter, name) in {("H", "ND1"), ("H", "NE2")}
            charged[k, column] = (letter, name) in _CHARGED_NITROGENS | _CHARGED_OXYGENS or name == "OXT"
    return radius, donates, accepts, charged


def _allowance(atoms: _Atoms, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Return how much more each pair may overlap because it is a hydrogen bond."""
    bond = (atoms.donor[i] & atoms.acceptor[j]) | (atoms.donor[j] & atoms.acceptor[i])
    return np.where(bond, np.where(atoms.charged[i] & atoms.charged[j], SALT_BRIDGE, HYDROGEN_BOND), 0.0)


def _neighbours(protein: Protein, atoms: _Atoms, bonded: np.ndarray) -> np.ndarray:
    """Return the heavy atoms bonded to each heavy atom, itself first, filled with itself, shape (heavy, bonds)."""
    heavy = int(np.sum(~atoms.hydrogen))
    number = np.full((len(protein), 37), -1)
    number[atoms.residue[:heavy], atoms.column[:heavy]] = np.arange(heavy)
    pairs = [*_bonds_within(protein, number), *_bonds_between(protein, number, atoms, bonded)]
    a, b = np.concatenate(pairs, axis=1)
    there = (a >= 0) & (b >= 0)
    a, b = np.concatenate([a[there], b[there]]), np.concatenate([b[there], a[there]])
    order = np.argsort(a, kind="stable")
    a, b = a[order], b[order]
    rank = np.arange(len(a)) - np.searchsorted(a, a)
    kept = rank < _MOST_BONDS - 1
    table = np.tile(np.arange(heavy)[:, None], (1, _MOST_BONDS))
    table[a[kept], rank[kept] + 1] = b[kept]
    return table


def _bonds_within(protein: Protein, number: np.ndarray) -> list[np.ndarray]:
    found = [np.stack([number[:, _C], number[:, _OXT]])]
    for letter in rc.RESTYPES:
        rows = protein.aatype == rc.RESTYPE_ID[letter]
        for entry, _, _ in rc.BONDS[letter]:
            first, second = (rc.ATOM37_ID[name] for name in entry.split("-"))
            found.append(np.stack([number[rows, first], number[rows, second]]))
    return found


def _bonds_between(protein: Protein, number: np.ndarray, atoms: _Atoms, bonded: np.ndarray) -> list[np.ndarray]:
    sulphur = number[(protein.aatype == rc.RESTYPE_ID["C"]) & (number[:, _SG] >= 0), _SG]
    i, j = pairs_within(atoms.positions[sulphur], DISULFIDE)
    rows = np.flatnonzero(bonded)
    return [np.stack([number[rows, _C], number[rows + 1, _N]]), np.stack([sulphur[i], sulphur[j]])]


def _near_in_bonds(atoms: _Atoms, neighbours: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Return which pairs are too few bonds apart to clash, shape (pairs,).

    A hydrogen's way begins with the bond to its carrier: four bonds between two hydrogens are two between their heavy
    atoms, between a hydrogen and a heavy atom three.
    """
    a, b = atoms.carrier[i], atoms.carrier[j]
    bonds = np.where(atoms.hydrogen[i] & atoms.hydrogen[j], _HYDROGEN_BONDS - 2, _HEAVY_BONDS)
    result = np.zeros(len(i), bool)
    for start in range(0, len(i), _CHUNK):
        part = slice(start, start + _CHUNK)
        one, two = neighbours[a[part]], neighbours[b[part]]
        further = neighbours[two].reshape(len(two), -1)
        within_two = (further == a[part, None]).any(axis=1)
        within_three = (further[:, :, None] == one[:, None]).any(axis=(1, 2))
        result[part] = np.where(bonds[part] == 2, within_two, within_three)
    return result


def _reach(atoms: _Atoms, neighbours: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Return how deep dots of each first atom's surface are in the second one, angstrom, shape (pairs,).

    As in Probe (Word et al. 1999) a dot of a surface does not count inside an atom that is a few bonds away, and counts
    for the atom that it is deepest in: of a hydrogen bond that is the hydrogen.
    """
    result = np.zeros(len(i))
    hydrogens = _hydrogens_of(atoms)
    for start in range(0, len(i), _DOT_CHUNK):
        part = slice(start, start + _DOT_CHUNK)
        a, b = i[part], j[part]
        dots = _dots(atoms, a, b)
        depth = atoms.radius[b][:, None] - np.linalg.norm(dots - atoms.positions[b][:, None], axis=-1)
        counts = _depth(atoms, dots, _few_bonds_away(atoms, neighbours, hydrogens, a)) <= 0
        counts &= _depth(atoms, dots, _bonded_to(atoms, neighbours, hydrogens, b)) <= depth
        result[part] = np.where(counts, depth - _allowance(atoms, a, b)[:, None], 0.0).max(axis=1)
    return result


def _dots(atoms: _Atoms, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return dots of the surfaces of atoms a that look at atoms b, angstrom, shape (pairs, dots, 3)."""
    axis = unit(atoms.positions[b] - atoms.positions[a] + _NOWHERE)
    side = unit(np.cross(axis, np.eye(3)[np.abs(axis).argmin(axis=-1)]))
    turn = np.arange(_TURNS)[:, None] * 2 * np.pi / _TURNS
    around = np.cos(turn) * side[:, None] + np.sin(turn) * np.cross(axis, side)[:, None]
    tilted = [np.cos(tilt) * axis[:, None] + np.sin(tilt) * around for tilt in _TILTS]
    outward = np.concatenate([axis[:, None], *tilted], axis=1)
    return np.asarray(atoms.positions[a][:, None] + atoms.radius[a][:, None, None] * outward)


def _depth(atoms: _Atoms, dots: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return how deep dots (pairs, dots, 3) are in the nearest of some atoms (pairs, others; -1 for none), angstrom."""
    apart = np.linalg.norm(dots[:, :, None] - atoms.positions[others][:, None], axis=-1)
    return np.where(others[:, None] >= 0, atoms.radius[others][:, None] - apart, -np.inf).max(axis=-1)


def _hydrogens_of(atoms: _Atoms) -> np.ndarray:
    """Return the hydrogens of each heavy atom, filled with -1, shape (heavy, 3)."""
    heavy = int(np.sum(~atoms.hydrogen))
    table = np.full((heavy, 3), -1)
    order = np.argsort(atoms.carrier[heavy:], kind="stable")
    carrier = atoms.carrier[heavy:][order]
    table[carrier, np.arange(len(order)) - np.searchsorted(carrier, carrier)] = heavy + order
    return table


def _few_bonds_away(atoms: _Atoms, neighbours: np.ndarray, hydrogens: np.ndarray, a: np.ndarray) -> np.ndarray:
    """Return the atoms up to three bonds from each, four where one is a hydrogen; rows are filled with -1."""
    shells = [atoms.carrier[a][:, None]]
    for _ in range(3):
        shells.append(neighbours[shells[-1]].reshape(len(a), -1))
    nearer, borne = (hydrogens[shells[k]].reshape(len(a), -1) for k in (2, 3))
    borne[atoms.hydrogen[a]] = -1
    return _distinct(np.concatenate([shells[3], nearer, borne], axis=1), a)


def _bonded_to(atoms: _Atoms, neighbours: np.ndarray, hydrogens: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the atoms bonded to each; rows are filled with -1."""
    carrier = atoms.carrier[b]
    near = np.concatenate([neighbours[carrier], hydrogens[carrier]], axis=1)
    near[atoms.hydrogen[b][:, None] & (near != carrier[:, None])] = -1
    return _distinct(near, b)


def _distinct(table: np.ndarray, without: np.ndarray) -> np.ndarray:
    """Return the entries of each row once, without one of them, the rows filled with -1."""
    rows = np.sort(np.where(table == without[:, None], -1, table), axis=1)
    rows[:, 1:][rows[:, 1:] == rows[:, :-1]] = -1
    rows = -np.sort(-rows, axis=1)
    return rows[:, : max(int((rows >= 0).sum(axis=1).max(initial=0)), 1)]
