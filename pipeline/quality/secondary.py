"""Secondary structure by backbone hydrogen bonds, in DSSP's letters.

Source: Kabsch & Sander 1983, Biopolymers 22, 2577, with what mkdssp 4 adds: pi helices go before alpha helices, and
runs of three residues with the torsions of polyproline II are `P`.
"""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np

from models import residue_constants as rc
from pipeline.protein import Protein
from pipeline.quality.backbone import BROKEN_BOND
from pipeline.quality.geometry import length, pairs_within, torsion, unit

LETTERS = {
    "H": "alpha helix",
    "G": "3-10 helix",
    "I": "pi helix",
    "P": "polyproline helix",
    "E": "strand",
    "B": "lone bridge",
    "T": "turn",
    "S": "bend",
    "-": "none",
}
_STATES = str.maketrans("GIBPTS", "HH----")
_REACH = 9.0  # angstrom between CA atoms; no hydrogen bond is looked for further away
_COUPLING = -27.9  # kcal/mol angstrom
_BOND_ENERGY = -0.5  # kcal/mol; a hydrogen bond is stronger
_STRONGEST, _SHORTEST = -9.9, 0.5  # kcal/mol, angstrom
_BEND = 70.0  # degrees
_PP_PHI, _PP_PSI, _PP_REACH, _PP_RUN = -75.0, 145.0, 29.0, 3
_N, _CA, _C, _O = (rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O"))


def secondary_structure(protein: Protein) -> str:
    """Return one of LETTERS for each residue; `-` too where a backbone atom is missing."""
    with np.errstate(invalid="ignore"):
        there = protein.atom37_mask & np.isfinite(protein.atom37_positions).all(axis=-1)
    whole = np.flatnonzero(there[:, [_N, _CA, _C, _O]].all(axis=1))
    letters = np.full(len(protein), "-")
    if len(whole):
        letters[whole] = _Chain(protein, whole).assign()
    return "".join(letters)


def three_states(letters: str) -> str:
    """Return `H` (any helix but polyproline's), `E` (strand) or `-` for each of LETTERS."""
    return letters.translate(_STATES)


def likeliest_states(probabilities: np.ndarray) -> str:
    """Return `H`, `E` or `-` for each residue.

    Args:
        probabilities: Of helix, strand and neither, shape (n, 3).
    """
    return "".join("HE-"[k] for k in probabilities.argmax(axis=1))


@dataclasses.dataclass
class _Ladder:
    parallel: bool
    i: list[int]
    j: list[int]


class _Chain:
    """The whole residues of a structure and their hydrogen bonds."""

    def __init__(self, protein: Protein, whole: np.ndarray) -> None:
        x = protein.atom37_positions[whole].astype(np.float64)
        self.n, self.ca, self.c, self.o = (x[:, atom] for atom in (_N, _CA, _C, _O))
        self.count = len(whole)
        same = protein.chain_id[whole][1:] == protein.chain_id[whole][:-1]
        self.linked = same & (length(self.n[1:] - self.c[:-1]) <= BROKEN_BOND)
        self.run = np.concatenate([[0], np.cumsum(~self.linked)])  # residues of one run are bonded to each other
        self.donates = (protein.aatype[whole] != rc.RESTYPE_ID["P"]) & np.concatenate([[False], self.linked])
        self.bonds = self._hydrogen_bonds()

    def assign(self) -> np.ndarray:
        """Return the letters, shape (whole,)."""
        letters = np.full(self.count, "-")
        self._strands(letters)
        starts = {size: self._helix_starts(size) for size in (3, 4, 5)}
        self._helices(letters, starts)
        self._turns_and_bends(letters, starts)
        self._polyproline(letters)
        return letters

    def unbroken(self, first: int, last: int) -> bool:
        """Return whether both residues exist and no break lies between them."""
        return 0 <= first <= last < self.count and bool(self.run[first] == self.run[last])

    def _hydrogen_bonds(self) -> set[tuple[int, int]]:
        """Return (donor, acceptor) of each bond; a residue keeps its two strongest."""
        i, j = pairs_within(self.ca, _REACH)
        back = j != i + 1  # N-H of a residue does not bond to C=O of the one before
        donor, acceptor = np.concatenate([i, j[back]]), np.concatenate([j, i[back]])
        donor, acceptor = donor[self.donates[donor]], acceptor[self.donates[donor]]
        energy = self._energies(donor, acceptor)
        order = np.lexsort((acceptor, energy, donor))
        donor, acceptor, energy = donor[order], acceptor[order], energy[order]
        rank = np.arange(len(donor)) - np.searchsorted(donor, donor)
        kept = (rank < 2) & (energy < _BOND_ENERGY)
        return set(zip(donor[kept].tolist(), acceptor[kept].tolist(), strict=True))

    def _energies(self, donor: np.ndarray, acceptor: np.ndarray) -> np.ndarray:
        hydrogen = self.n.copy()
        hydrogen[1:] += unit(self.c[:-1] - self.o[:-1])  # one angstrom along the carbonyl bond before it
        h, n, c, o = hydrogen[donor], self.n[donor], self.c[acceptor], self.o[acceptor]
        ho, hc, nc, no = (length(a - b) for a, b in ((h, o), (h, c), (n, c), (n, o)))
        with np.errstate(divide="ignore", invalid="ignore"):
            energy = np.round(_COUPLING * (1 / ho - 1 / hc + 1 / nc - 1 / no), 3)
        too_near = np.minimum(np.minimum(ho, hc), np.minimum(nc, no)) < _SHORTEST
        return np.maximum(np.where(too_near, _STRONGEST, energy), _STRONGEST)

    # Strands ----------------------------------------------------------------------------------------------------------

    def _bridges(self) -> Iterator[tuple[int, int, bool]]:
        """Give (i, j, parallel) of each bridge, by i and then j."""
        candidates = set()
        for donor, acceptor in self.bonds:
            around = itertools.product((donor - 1, donor, donor + 1), (acceptor - 1, acceptor, acceptor + 1))
            candidates |= {(min(pair), max(pair)) for pair in around}
        for i, j in sorted(candidates):
            if j >= i + 3 and self.unbroken(i - 1, i + 1) and self.unbroken(j - 1, j + 1):
                kind = self._bridge(i, j)
                if kind is not None:
                    yield i, j, kind

    def _bridge(self, i: int, j: int) -> bool | None:
        """Return whether two residues make a parallel bridge, None where they make none."""
        bonds = self.bonds
        if {(i + 1, j), (j, i - 1)} <= bonds or {(j + 1, i), (i, j - 1)} <= bonds:
            return True
        if {(i + 1, j - 1), (j + 1, i - 1)} <= bonds or {(j, i), (i, j)} <= bonds:
            return False
        return None

    def _ladders(self) -> list[_Ladder]:
        """Join bridges of one kind that follow each other, then ladders across small bulges."""
        ladders: list[_Ladder] = []
        for i, j, parallel in self._bridges():
            for ladder in ladders:
                if ladder.parallel == parallel and ladder.i[-1] + 1 == i:
                    if parallel and ladder.j[-1] + 1 == j:
                        ladder.j.append(j)
                    elif not parallel and ladder.j[0] - 1 == j:
                        ladder.j.insert(0, j)
                    else:
                        continue
                    ladder.i.append(i)
                    break
            else:
                ladders.append(_Ladder(parallel, [i], [j]))
        ladders.sort(key=lambda ladder: ladder.i[0])
        first = 0
        while first < len(ladders):
            second = first + 1
            while second < len(ladders):
                if self._bulge(ladders[first], ladders[second]):
                    _merge(ladders[first], ladders.pop(second))
                else:
                    second += 1
            first += 1
        return ladders

    def _bulge(self, one: _Ladder, two: _Ladder) -> bool:
        """Return whether two ladders are one with a bulge: at most one residue more on one side, four on the other."""
        gap = two.i[0] - one.i[-1]
        broken = not (
            self.unbroken(min(one.i[0], two.i[0]), max(one.i[-1], two.i[-1]))
            and self.unbroken(min(one.j[0], two.j[0]), max(one.j[-1], two.j[-1]))
        )
        overlapping = one.i[-1] >= two.i[0] and one.i[0] <= two.i[-1]
        if one.parallel != two.parallel or broken or gap >= 6 or overlapping:
            return False
        other = two.j[0] - one.j[-1] if one.parallel else one.j[0] - two.j[-1]
        return (0 <= other < 6 and gap < 3) or 0 <= other < 3

    def _strands(self, letters: np.ndarray) -> None:
        for ladder in self._ladders():
            letter = "E" if len(ladder.i) > 1 else "B"
            for side in (ladder.i, ladder.j):
                part = letters[side[0] : side[-1] + 1]
                part[part != "E"] = letter

    # Helices and turns ------------------------------------------------------------------------------------------------

    def _helix_starts(self, size: int) -> np.ndarray:
        """Return which residues accept a bond from the residue `size` further on, shape (whole,)."""
        return np.array([(i + size, i) in self.bonds and self.unbroken(i, i + size) for i in range(self.count)])

    def _helices(self, letters: np.ndarray, starts: dict[int, np.ndarray]) -> None:
        for size, letter, over in ((4, "H", "HEB-GI"), (3, "G", "-G"), (5, "I", "-IH")):
            twice = np.flatnonzero(starts[size][1:] & starts[size][:-1]) + 1
            for i in twice:
                part = letters[i : i + size]
                if len(part) == size and set(part) <= set(over):
                    part[:] = letter

    def _turns_and_bends(self, letters: np.ndarray, starts: dict[int, np.ndarray]) -> None:
        bend = self._bends()
        for i in np.flatnonzero(letters == "-"):
            if i == 0 or i == self.count - 1:
                continue
            turn = any(i >= k and starts[size][i - k] for size in (3, 4, 5) for k in range(1, size))
            letters[i] = "T" if turn else "S" if bend[i] else "-"

    def _bends(self) -> np.ndarray:
        bend = np.zeros(self.count, bool)
        if self.count > 4:
            before, after = self.ca[2:-2] - self.ca[:-4], self.ca[4:] - self.ca[2:-2]
            turn = np.rad2deg(np.arccos(np.clip(np.einsum("ik,ik->i", unit(before), unit(after)), -1, 1)))
            bend[2:-2] = (turn > _BEND) & (self.run[:-4] == self.run[4:])
        return bend

    def _polyproline(self, letters: np.ndarray) -> None:
        phi, psi = np.full(self.count, np.nan), np.full(self.count, np.nan)
        link = np.where(self.linked, 1.0, np.nan)
        phi[1:] = torsion(self.c[:-1], self.n[1:], self.ca[1:], self.c[1:]) * link
        psi[:-1] = torsion(self.n[:-1], self.ca[:-1], self.c[:-1], self.n[1:]) * link
        like = (np.abs(phi - _PP_PHI) <= _PP_REACH) & (np.abs(psi - _PP_PSI) <= _PP_REACH)
        for i in range(1, self.count - _PP_RUN):
            run = slice(i, i + _PP_RUN)
            if like[run].all():
                part = letters[run]
                part[part == "-"] = "P"


def _merge(one: _Ladder, two: _Ladder) -> None:
    one.i += two.i
    one.j = one.j + two.j if one.parallel else two.j + one.j
