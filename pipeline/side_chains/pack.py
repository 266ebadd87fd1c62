"""Choose rotamers for side chains that are missing or wrong: likely ones that clash with little.

Sources: the clash term of SCWRL3 (Canutescu et al. 2003, Protein Sci. 12, 2001), with its radii; each side chain is
chosen given the others until nothing changes, from several starts.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from models import residue_constants as rc
from pipeline import quality
from pipeline.ligands import obstacles
from pipeline.protein import Protein
from pipeline.side_chains import rotamers

_RADII = {"C": 1.6, "N": 1.3, "O": 1.3, "S": 1.7}  # angstrom
_METAL = 1.2  # angstrom, of other elements
_INSIDE, _SLOPE, _WORST = 0.8254, 57.273, 10.0  # share of the radii below which a clash costs the most; its cost
_WEIGHT = 3.0  # of the logarithm of a probability against the clashes
_REACH = 11.0  # angstrom from a CA, beyond which no atom touches a side chain that starts there
_FAITH = 5.0  # cost of a square angstrom between a rotamer and an atom that is there already
_STARTS, _SWEEPS = 6, 20
_DISULFIDE = (1.7, 2.6)  # angstrom; sulphurs at this distance are bonded
_CA, _CB = rc.ATOM37_ID["CA"], rc.ATOM37_ID["CB"]
_BACKBONE = [rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O", "OXT")]


@dataclasses.dataclass(frozen=True)
class Effort:
    """Which rotamers of a residue are tried.

    Args:
        most: How many, the most probable first.
        rarest: In logarithms below the most probable one.
        turned: Whether chi 1 and 2 are also tried a standard deviation to each side.
    """

    most: int
    rarest: float
    turned: bool


THOROUGH = Effort(most=40, rarest=7.0, turned=True)
QUICK = Effort(most=12, rarest=4.0, turned=False)


@dataclasses.dataclass(frozen=True, eq=False)
class _Choice:
    """The rotamers of one residue.

    Args:
        row: Of the residue.
        columns: atom37 columns of the side chain beyond CB, shape (a,).
        atoms: Angstrom, shape (r, a, 3).
        radius: Shape (a,).
        sulphur: Which of the atoms is SG of a cysteine, shape (a,).
        cost: Against all that does not move, shape (r,).
    """

    row: int
    columns: np.ndarray
    atoms: np.ndarray
    radius: np.ndarray
    sulphur: np.ndarray
    cost: np.ndarray


def without_side_chains(protein: Protein, rows: Sequence[int]) -> Protein:
    """Return a protein of which some residues have no side chain."""
    mask = protein.atom37_mask.copy()
    beyond = np.ones(37, bool)
    beyond[_BACKBONE] = False
    mask[np.array(rows)[:, None], np.flatnonzero(beyond)] = False
    return dataclasses.replace(protein, atom37_mask=mask)


def build_side_chains(
    protein: Protein,
    rows: Sequence[int],
    avoid: Mapping[int, np.ndarray] | None = None,
    effort: Effort = THOROUGH,
) -> Protein:
    """Give residues the side-chain atoms that they lack.

    Args:
        protein: Whose residues in `rows` have N, CA and C; atoms that stand beyond them stay where they are.
        rows: Residues to complete.
        avoid: Torsions to keep away from, degrees, shape (torsions,), by residue: what was there and wrong.
        effort: What is tried.

    Returns:
        The protein with all heavy side-chain atoms of these residues.
    """
    rows = [int(i) for i in rows if protein.aatype[i] != rc.UNKNOWN]
    xyz, mask = protein.atom37_positions.astype(np.float64), protein.atom37_mask.copy()
    frames = rotamers.backbone_frames(xyz)
    _add_cb(xyz, mask, protein.aatype, rows, frames)
    torsions = quality.backbone(protein)
    scene = _Scene(xyz, mask, obstacles(protein))
    choices = []
    for i in rows:
        letter = rc.RESTYPES[protein.aatype[i]]
        if rc.CHI_ATOMS[letter]:
            frame = frames[0][i], frames[1][i]
            angles = float(torsions.phi[i]), float(torsions.psi[i])
            library = rotamers.statistics().rotamers[letter]
            tried = _candidates(library, library.given(*angles), effort)
            choices.append(_choice(scene, i, (letter, frame), _away(tried, (avoid or {}).get(i))))
    for choice, best in zip(choices, _solve(choices), strict=True):
        new = ~mask[choice.row, choice.columns]
        xyz[choice.row, choice.columns[new]] = choice.atoms[best][new]
        mask[choice.row, choice.columns] = True
    return dataclasses.replace(protein, atom37_positions=xyz.astype(np.float32), atom37_mask=mask)


def _add_cb(
    xyz: np.ndarray, mask: np.ndarray, aatype: np.ndarray, rows: Sequence[int], frames: tuple[np.ndarray, np.ndarray]
) -> None:
    for i in rows:
        if rc.ATOM37_MASK[aatype[i], _CB] and not mask[i, _CB]:
            local = rc.ATOM14_LOCAL[aatype[i], rc.RESIDUE_ATOMS[rc.RESTYPES[aatype[i]]].index("CB")]
            xyz[i, _CB] = frames[0][i] @ local + frames[1][i]
            mask[i, _CB] = True


class _Scene:
    """The atoms that do not move: those of the protein, and ligands, which belong to no residue."""

    def __init__(self, xyz: np.ndarray, mask: np.ndarray, beside: tuple[tuple[str, ...], np.ndarray]) -> None:
        self._all, self._mask = xyz, mask
        rows, columns = np.nonzero(mask)
        elements, places = beside
        more = len(elements)
        self._row = np.append(rows, np.full(more, -1))
        self._atoms = np.concatenate([xyz[rows, columns], places])
        radius = [_RADII[rc.ATOM37[c][0]] for c in columns] + [_RADII.get(e, _METAL) for e in elements]
        self._radius = np.array(radius)
        self._sulphur = np.append(columns == rc.ATOM37_ID["SG"], np.zeros(more, bool))
        self._oxygen = np.append(columns == rc.ATOM37_ID["O"], np.zeros(more, bool))

    def near(self, row: int) -> "Atoms":
        """Return what a side chain of residue `row` may meet; of its own residue that is O alone."""
        offset = self._atoms - self._all[row, _CA]
        reach = np.einsum("ai,ai->a", offset, offset) < _REACH**2
        chosen = reach & ((self._row != row) | self._oxygen)
        return self._atoms[chosen], self._radius[chosen], self._sulphur[chosen]

    def misfit(self, row: int, columns: np.ndarray, atoms: np.ndarray) -> np.ndarray:
        """Return how far rotamers (r, a, 3) are from the atoms that the residue has already, shape (r,)."""
        there = self._mask[row, columns]
        return _FAITH * np.asarray(((atoms - self._all[row, columns]) ** 2).sum(axis=-1)[:, there].sum(axis=1))


def _choice(
    scene: _Scene,
    row: int,
    residue: tuple[str, tuple[np.ndarray, np.ndarray]],
    tried: tuple[np.ndarray, np.ndarray],
) -> _Choice:
    """Place rotamers (torsions, how unlikely) of a residue (letter, frame); weigh each against what does not move."""
    letter, frame = residue
    chi, unlikely = tried
    aatype = rc.RESTYPE_ID[letter]
    beyond = np.array([j for j, name in enumerate(rc.RESIDUE_ATOMS[letter]) if name not in ("N", "CA", "C", "O", "CB")])
    atoms = rotamers.place(aatype, frame, chi)[:, beyond]
    columns = rc.ATOM14_TO_ATOM37[aatype, beyond]
    radius = np.array([_RADII[rc.ATOM37[c][0]] for c in columns])
    sulphur = columns == rc.ATOM37_ID["SG"]
    cost = _clashes((atoms, radius, sulphur), scene.near(row)) + scene.misfit(row, columns, atoms)
    return _Choice(row, columns, atoms, radius, sulphur, _WEIGHT * unlikely + cost)


def _candidates(library: rotamers.Rotamers, logarithm: np.ndarray, effort: Effort) -> tuple[np.ndarray, np.ndarray]:
    """Return the torsions worth trying, degrees, and how unlikely each is."""
    order = np.argsort(-logarithm, kind="stable")[: effort.most]
    order = order[logarithm[order] > logarithm[order[0]] - effort.rarest]
    chi, unlikely = library.chi[order], logarithm[order[0]] - logarithm[order]
    turned, costs = [chi], [unlikely]
    for torsion in range(min(chi.shape[1], 2) if effort.turned else 0):
        step = np.zeros_like(chi)
        step[:, torsion] = library.spread[order, torsion]
        turned += [chi - step, chi + step]
        costs += [unlikely + 0.5, unlikely + 0.5]  # one standard deviation off costs half a logarithm
    return np.concatenate(turned), np.concatenate(costs)


def _away(tried: tuple[np.ndarray, np.ndarray], wrong: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Make those torsions unlikely that are the wrong ones."""
    if wrong is None:
        return tried
    chi, unlikely = tried
    same = np.all(np.abs(np.mod(chi - wrong + 180, 360) - 180) < 40, axis=1)
    return chi, unlikely + np.where(same, _WORST, 0.0)


Atoms = tuple[np.ndarray, np.ndarray, np.ndarray]  # positions, radii, which are sulphurs of cysteines


def _clashes(first: Atoms, second: Atoms) -> np.ndarray:
    """Return the cost of each set of atoms (r, a, 3) against atoms (b, 3), shape (r,)."""
    offset = first[0][:, :, None] - second[0]
    return np.asarray(_cost(np.sqrt(np.einsum("rabi,rabi->rab", offset, offset)), first, second).sum(axis=(1, 2)))


def _cost(distance: np.ndarray, first: Atoms, second: Atoms) -> np.ndarray:
    """Return the cost of each pair of atoms, (..., a, b)."""
    radii = first[1][:, None] + second[1]
    share = distance / radii
    cost = np.where(share < _INSIDE, _WORST, np.where(share < 1, _SLOPE * (1 - share), 0.0))
    both = first[2][:, None] & second[2]
    if both.any():
        bonded = both & (distance > _DISULFIDE[0]) & (distance < _DISULFIDE[1])
        cost = np.where(bonded, -_WORST, cost)
    return np.asarray(cost)


def _solve(choices: Sequence[_Choice]) -> list[int]:
    """Return the rotamer of each residue."""
    tables = _pairs(choices)
    generator = np.random.default_rng(1)
    best: list[int] = []
    lowest = np.inf
    for start in range(_STARTS if tables else 1):
        state = [int(np.argmin(c.cost + (generator.exponential(3.0, len(c.cost)) if start else 0.0))) for c in choices]
        total = _sweep(choices, tables, state)
        if total < lowest:
            lowest, best = total, list(state)
    return best


def _sweep(choices: Sequence[_Choice], tables: Mapping[int, Mapping[int, np.ndarray]], state: list[int]) -> float:
    """Choose each residue given the others until nothing changes; return the total cost."""
    for _ in range(_SWEEPS):
        before = list(state)
        for k, choice in enumerate(choices):
            state[k] = int(np.argmin(choice.cost + _met(tables, state, k)))
        if state == before:
            break
    alone = sum(float(c.cost[s]) for c, s in zip(choices, state, strict=True))
    return alone + 0.5 * sum(float(_met(tables, state, k)[s]) for k, s in enumerate(state) if tables.get(k))


def _met(tables: Mapping[int, Mapping[int, np.ndarray]], state: Sequence[int], k: int) -> np.ndarray:
    """Return the cost of each rotamer of choice `k` against the side chains as they stand."""
    met: np.ndarray = sum((table[:, state[other]] for other, table in tables.get(k, {}).items()), np.zeros(1))
    return met


def _pairs(choices: Sequence[_Choice]) -> dict[int, dict[int, np.ndarray]]:
    """Return the cost of each rotamer of one choice against each of another, by the two choices."""
    tables: dict[int, dict[int, np.ndarray]] = {}
    centre = [c.atoms.mean(axis=(0, 1)) for c in choices]
    radius = [float(np.linalg.norm(c.atoms - m, axis=-1).max()) for c, m in zip(choices, centre, strict=True)]
    for k, first in enumerate(choices):
        for other in range(k):
            gap = np.linalg.norm(centre[k] - centre[other]) - radius[k] - radius[other]
            if gap < 2 * max(_RADII.values()):
                table = _table(first, choices[other])
                if table.any():
                    tables.setdefault(k, {})[other] = table
                    tables.setdefault(other, {})[k] = table.T
    return tables


def _table(first: _Choice, second: _Choice) -> np.ndarray:
    one, two = first.atoms.reshape(-1, 3), second.atoms.reshape(-1, 3)
    squared = (one**2).sum(-1)[:, None] + (two**2).sum(-1) - 2 * one @ two.T
    distance = np.sqrt(np.maximum(squared, 0)).reshape(*first.atoms.shape[:2], *second.atoms.shape[:2])
    distance = distance.transpose(0, 2, 1, 3)
    atoms = (first.atoms, first.radius, first.sulphur), (second.atoms, second.radius, second.sulphur)
    return np.asarray(_cost(distance, *atoms).sum(axis=(2, 3)))
