"""Which residue of a model stands for which of the reference: by the residue numbers, or by aligning the sequences."""

import dataclasses
from typing import Literal

import numpy as np

from models import residue_constants as rc
from pipeline.errors import FoldlineError
from pipeline.protein import Protein

Match = Literal["auto", "number", "sequence"]
SAME = 0.9  # share of the residues paired by number that must be of one type for numbers to be believed
COVERED = 0.5  # share of the shorter chain that must be paired by number


class PairingError(FoldlineError):
    """No residue of the model could be paired with one of the reference."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Residues that stand for each other.

    Args:
        model: For each residue of the reference the model's, -1 where it has none, shape (n,).
        matched_by: `number` or `sequence`, of each chain of the reference that was paired.
        chains: The model's chain for each of those.
    """

    model: np.ndarray
    matched_by: dict[str, str]
    chains: dict[str, str]

    @property
    def real(self) -> np.ndarray:
        """Residues of the reference that have a partner, shape (pairs,)."""
        return np.flatnonzero(self.model >= 0)


def pair_residues(model: Protein, reference: Protein, match: Match = "auto") -> Pairs:
    """Pair chains by name, else by sequence, and their residues by number, else by sequence.

    Args:
        model: The prediction.
        reference: What it is compared with.
        match: How residues are paired; `auto` takes the numbers where they agree with the sequences.

    Raises:
        PairingError: No residues can be paired.
    """
    partner = np.full(len(reference), -1)
    matched_by: dict[str, str] = {}
    chains = _pair_chains(model, reference)
    for wanted, given in chains.items():
        ours, theirs = model.chains[given], reference.chains[wanted]
        by_number = _by_number(model, reference, ours, theirs)
        if match == "number" or (match == "auto" and _believable(model, reference, by_number, (ours, theirs))):
            found, how = by_number, "number"
        else:
            found, how = _by_sequence(model.sequence[ours], reference.sequence[theirs]), "sequence"
        partner[theirs] = np.where(found >= 0, found + ours.start, -1)
        matched_by[str(reference.chain_id[theirs.start])] = how
    if not (partner >= 0).any():
        raise PairingError("no residue of the model stands for one of the reference", mend="compare their sequences")
    names = {
        str(reference.chain_id[reference.chains[a].start]): str(model.chain_id[model.chains[b].start])
        for a, b in chains.items()
    }
    return Pairs(partner, matched_by, names)


def _pair_chains(model: Protein, reference: Protein) -> dict[int, int]:
    """Return the model's chain for each of the reference's: the only one, that of the same name, the most alike."""
    if len(model.chains) == len(reference.chains) == 1:
        return {0: 0}
    names = {str(model.chain_id[chain.start]): k for k, chain in enumerate(model.chains)}
    pairs: dict[int, int] = {}
    left = dict(enumerate(reference.chains))
    for k, chain in list(left.items()):
        named = names.get(str(reference.chain_id[chain.start]))
        if named is not None and _alike(model, reference, model.chains[named], chain) >= COVERED:
            pairs[k] = named
            del left[k]
    for k, chain in left.items():
        free = [i for i in range(len(model.chains)) if i not in pairs.values()]
        likeness = {i: _alike(model, reference, model.chains[i], chain) for i in free}
        best = max(likeness, key=lambda i: likeness[i], default=None)
        if best is not None and likeness[best] >= COVERED:
            pairs[k] = best
    return dict(sorted(pairs.items()))


def _alike(model: Protein, reference: Protein, ours: slice, theirs: slice) -> float:
    """Return the share of the shorter chain that is the same in the aligned other one."""
    one, two = model.sequence[ours], reference.sequence[theirs]
    found = _by_sequence(one, two)
    same = sum(1 for k, i in enumerate(found.tolist()) if i >= 0 and one[i] == two[k])
    return same / min(len(one), len(two))


def _by_number(model: Protein, reference: Protein, ours: slice, theirs: slice) -> np.ndarray:
    """Return the place in the model's chain of each residue of the reference's chain, -1 where there is none."""
    places = {number: k for k, number in enumerate(model.author_number[ours])}
    return np.array([places.get(number, -1) for number in reference.author_number[theirs]])


def _believable(model: Protein, reference: Protein, found: np.ndarray, chains: tuple[slice, slice]) -> bool:
    ours, theirs = chains
    there = np.flatnonzero(found >= 0)
    if len(there) < COVERED * min(ours.stop - ours.start, theirs.stop - theirs.start):
        return False
    one, two = model.aatype[ours][found[there]], reference.aatype[theirs][there]
    known = (one != rc.UNKNOWN) & (two != rc.UNKNOWN)
    return bool(np.mean((one == two)[known]) >= SAME) if known.any() else True


def _by_sequence(model: str, reference: str) -> np.ndarray:
    """Align two sequences from end to end, gaps at the ends free; return as `_by_number` does."""
    from Bio.Align import PairwiseAligner  # noqa: PLC0415 - only where numbers do not help

    aligner = PairwiseAligner(mode="global", match_score=2, mismatch_score=-1, open_gap_score=-4, extend_gap_score=-0.5)
    aligner.end_gap_score = 0.0
    alignment = aligner.align(reference, model)[0]
    found = np.full(len(reference), -1)
    for (start, stop), (first, _) in zip(*alignment.aligned, strict=True):
        found[start:stop] = np.arange(first, first + stop - start)
    return found
