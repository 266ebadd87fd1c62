"""What of a structure can be relaxed: bonded runs of known residues, centred, complete, no two atoms in one place."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from models import residue_constants as rc
from pipeline import quality
from pipeline.protein import Hydrogens, Protein
from pipeline.quality.backbone import gaps
from pipeline.relax.coordinates import SOUND_BOND, part_coincident, typical_bond, without_lost, without_strays
from pipeline.relax.rebuild import rebuild
from pipeline.relax.settings import RelaxFailure
from pipeline.relax.stereo import Torsions, intended, right_hands, unusual

_GAP = 200  # residues, as the numbering jumps at a break
_N, _CA, _C, _O, _CB = (rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O", "CB"))


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A protein for the force field, and the way back.

    Args:
        protein: Centred, ligands too, atoms parted, numbered by bonds, unknown residues with a backbone as alanine or
            glycine, missing atoms built where there is a CA.
        runs: The residues that go into the force field, one slice for each chain without breaks.
        immobile: Residues that are held where they are, shape (n,).
        given: Atoms that stand where the input had them, shape (n, 37).
        torsions: Hands and peptide bonds that it is to have.
        changes: What was done and what is left out.
        findings: Bonds through rings that were left.
        unusual: D residues, cis and twisted peptide bonds.
        original: The input, without atoms that have no usable coordinates.
        offset: What was subtracted from all positions, angstrom, shape (3,).
    """

    protein: Protein
    runs: tuple[slice, ...]
    immobile: np.ndarray
    given: np.ndarray
    torsions: Torsions
    changes: tuple[str, ...]
    findings: tuple[str, ...]
    unusual: tuple[str, ...]
    original: Protein
    offset: np.ndarray

    def restore(self, relaxed: Protein) -> Protein:
        """Return a relaxed protein at the place of the input, with its unknown residues as they were."""
        still = self.immobile
        old = self.original
        xyz = np.where(still[:, None, None], old.atom37_positions, relaxed.atom37_positions + self.offset)
        mask = np.where(still[:, None], old.atom37_mask, relaxed.atom37_mask)
        outside = ~still & ~_inside(self.runs, len(old))
        hydrogens = _merged(
            _of(old.hydrogens, still | outside), _of(relaxed.hydrogens, ~(still | outside)), self.offset
        )
        return dataclasses.replace(
            relaxed,
            aatype=old.aatype,
            names=old.names,
            residue_index=old.residue_index,
            atom37_positions=np.where(mask[..., None], xyz, 0).astype(np.float32),
            atom37_mask=mask,
            hydrogens=hydrogens,
            others=old.others,
        )


def prepare(protein: Protein, longest_bond: float) -> Prepared:
    """Make a protein ready for the force field.

    Args:
        protein: Any structure.
        longest_bond: See `segments`.

    Raises:
        RelaxFailure: No two residues are bonded, or many atoms stand on others.
    """
    protein, lost = without_lost(protein)
    protein, strays = without_strays(protein)
    stand_in, immobile, changes = _stand_ins(protein)
    changes = (*lost, *strays, *changes)
    runs, cuts = segments(stand_in, longest_bond)
    if not runs:
        raise RelaxFailure("coordinates", "no two residues are bonded")
    replaced = _of(protein.hydrogens, _inside(runs, len(protein)) & ~immobile)
    if replaced is not None and replaced.names:
        changes = (*changes, f"{len(replaced.names)} hydrogens were placed anew")
    if protein.others:
        changes = (*changes, f"{len(protein.others)} atoms that no amino acid has stay where they are")
    offset = np.median(protein.atom37_positions[protein.atom37_mask].astype(np.float64), axis=0)
    xyz = np.where(protein.atom37_mask[..., None], protein.atom37_positions - offset, 0).astype(np.float32)
    index = _index_with_breaks(runs, len(protein))
    others = tuple(a._replace(position=tuple(np.subtract(a.position, offset).tolist())) for a in protein.others)
    centred = dataclasses.replace(
        stand_in, atom37_positions=xyz, residue_index=index, hydrogens=None, names={}, others=others
    )
    parted, moved = part_coincident(centred)
    handed, turned = right_hands(parted, runs)
    built = rebuild(handed, runs)
    given = built.given & np.all(handed.atom37_positions == parted.atom37_positions, axis=-1)
    changes = (*changes, *cuts, *moved, *turned, *built.changes)
    torsions = intended(built.protein, runs)
    found = built.findings, unusual(built.protein)
    return Prepared(built.protein, runs, immobile, given, torsions, changes, *found, protein, offset)


def _inside(runs: Sequence[slice], n: int) -> np.ndarray:
    inside = np.zeros(n, bool)
    for run in runs:
        inside[run] = True
    return inside


def _of(hydrogens: Hydrogens | None, rows: np.ndarray) -> Hydrogens | None:
    """Return the hydrogens of the residues that a mask (n,) names."""
    if hydrogens is None:
        return None
    kept = rows[hydrogens.residue]
    return Hydrogens(
        hydrogens.residue[kept], tuple(itertools.compress(hydrogens.names, kept)), hydrogens.positions[kept]
    )


def _merged(old: Hydrogens | None, new: Hydrogens | None, offset: np.ndarray) -> Hydrogens | None:
    """Return old hydrogens and new ones, which are moved by `offset`."""
    if old is None or new is None:
        return old if new is None else dataclasses.replace(new, positions=(new.positions + offset).astype(np.float32))
    positions = np.concatenate([old.positions, new.positions + offset]).astype(np.float32)
    return Hydrogens(np.concatenate([old.residue, new.residue]), old.names + new.names, positions)


def _index_with_breaks(runs: tuple[slice, ...], n: int) -> np.ndarray:
    """Number the residues so that a step of one is a bond of the runs: a gap is no violation that is to be closed."""
    edges = np.zeros(n + 1, np.int32)
    for run in runs:
        edges[[run.start, run.stop]] = _GAP
    return np.arange(n, dtype=np.int32) + np.cumsum(edges[:-1], dtype=np.int32)


def _stand_ins(protein: Protein) -> tuple[Protein, np.ndarray, tuple[str, ...]]:
    """Let alanine or glycine stand in for unknown residues that have a backbone, so that their neighbours feel them."""
    unknown = protein.aatype == rc.UNKNOWN
    immobile = unknown & protein.atom37_mask[:, [_N, _CA, _C, _O]].all(axis=1)
    if not immobile.any():
        return protein, immobile, ()
    letter = np.where(protein.atom37_mask[:, _CB], rc.RESTYPE_ID["A"], rc.RESTYPE_ID["G"])
    aatype = np.where(immobile, letter, protein.aatype)
    mask = protein.atom37_mask & (~immobile[:, None] | (rc.ATOM37_MASK[aatype] > 0))
    changes = tuple(f"{protein.label(i)} is unknown and is held where it is" for i in _places(immobile))
    return dataclasses.replace(protein, aatype=aatype, atom37_mask=mask), immobile, changes


def segments(protein: Protein, longest_bond: float = 4.0) -> tuple[tuple[slice, ...], tuple[str, ...]]:
    """Cut a protein into runs of bonded residues that the force field knows, and say where and what is left out.

    Args:
        protein: Any structure.
        longest_bond: Between C and N of consecutive residues, angstrom. Where the numbering skips, a bond is drawn only
            if nothing can be missing (`quality.BROKEN_BOND`). Where all bonds are too long, so may these be.
    """
    changes: list[str] = []
    known = (protein.aatype != rc.UNKNOWN) & protein.atom37_mask.any(axis=1)
    changes += [f"{protein.label(i)} is left as it is: it is unknown or has no atoms" for i in _places(~known)]
    same_chain = protein.chain_id[1:] == protein.chain_id[:-1]
    longest_bond *= max(1.0, typical_bond(protein) / SOUND_BOND)
    limit = np.where(quality.joined(protein), longest_bond, quality.BROKEN_BOND)
    bonded = same_chain & known[1:] & known[:-1] & (gaps(protein) <= limit)
    for i in _places(same_chain & known[1:] & known[:-1] & ~bonded):
        changes.append(f"the chain is broken between {protein.label(i)} and {protein.label(i + 1)}")
    edges = [0, *(np.flatnonzero(~bonded) + 1), len(protein)]
    runs = [slice(int(a), int(b)) for a, b in itertools.pairwise(edges) if known[a]]
    for run in runs:
        if run.stop - run.start == 1:
            changes.append(f"{protein.label(run.start)} is left as it is: it stands alone")
    return tuple(run for run in runs if run.stop - run.start > 1), tuple(changes)


def _places(mask: np.ndarray) -> list[int]:
    return [int(i) for i in np.flatnonzero(mask)]
