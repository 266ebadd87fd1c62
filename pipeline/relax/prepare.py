"""What of a structure can be relaxed: bonded runs of known residues, centred, complete, no two atoms in one place."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from models import residue_constants as rc
from pipeline import quality
from pipeline.protein import Hydrogens, Protein
from pipeline.relax.rebuild import rebuild
from pipeline.relax.rotamers import backbone_frames
from pipeline.relax.settings import RelaxFailure

COINCIDENT = 0.1  # angstrom; atoms nearer than this hardly know in which direction to push each other
CLEARLY_D = 1.7  # cubic angstrom, of the chirality of CA; a well-formed residue has 2.6, with a sign by its hand
MALFORMED = 0.15  # angstrom; with a bond of CA further from its mean a residue is no well-formed D residue
_CA_BONDS = (1.459, 1.525, 1.53)  # angstrom, to N, C and CB (Engh & Huber 1991)
MOST_COINCIDENT = 0.25  # of the atoms; with more, any structure that comes out is made up
_GAP = 200  # residues, as the numbering jumps at a break
_TWIST = 30.0  # degrees from 0 (cis) and 180 (trans), beyond which a peptide bond is twisted
_N, _CA, _C, _O, _CB = (rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O", "CB"))


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """A protein for the force field, and the way back.

    Args:
        protein: Centred, atoms parted, numbered by bonds, unknown residues with a backbone as alanine or glycine,
            missing atoms built where there is a CA.
        runs: The residues that go into the force field, one slice for each chain without breaks.
        immobile: Residues that are held where they are, shape (n,).
        given: Atoms that stand where the input had them, shape (n, 37).
        changes: What was done and what is left out.
        findings: What was noticed and left as it is.
        original: The input.
        offset: What was subtracted from all positions, angstrom, shape (3,).
    """

    protein: Protein
    runs: tuple[slice, ...]
    immobile: np.ndarray
    given: np.ndarray
    changes: tuple[str, ...]
    findings: tuple[str, ...]
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
        )


def prepare(protein: Protein, longest_bond: float) -> Prepared:
    """Make a protein ready for the force field.

    Args:
        protein: Any structure.
        longest_bond: See `segments`.

    Raises:
        RelaxFailure: A coordinate is no number, no two residues are bonded, or many atoms stand on others.
    """
    lost = protein.atom37_mask & ~np.isfinite(protein.atom37_positions).all(axis=-1)
    if lost.any():
        first = protein.label(_places(lost.any(axis=1))[0])
        raise RelaxFailure("coordinates", f"{int(lost.sum())} atoms are nan or infinite, the first in {first}")
    stand_in, immobile, changes = _stand_ins(protein)
    runs, cuts = segments(stand_in, longest_bond)
    if not runs:
        raise RelaxFailure("coordinates", "no two residues are bonded")
    replaced = _of(protein.hydrogens, _inside(runs, len(protein)) & ~immobile)
    if replaced is not None and replaced.names:
        changes = (*changes, f"{len(replaced.names)} hydrogens were placed anew")
    if protein.others:
        changes = (*changes, f"{len(protein.others)} atoms that no amino acid has stay where they are, without forces")
    offset = protein.atom37_positions[protein.atom37_mask].astype(np.float64).mean(axis=0)
    xyz = np.where(protein.atom37_mask[..., None], protein.atom37_positions - offset, 0).astype(np.float32)
    index = _index_with_breaks(runs, len(protein))
    centred = dataclasses.replace(stand_in, atom37_positions=xyz, residue_index=index, hydrogens=None, names={})
    parted, moved = _part_coincident(centred)
    handed, turned = _right_hands(parted, runs)
    built = rebuild(handed, runs)
    given = built.given & np.all(handed.atom37_positions == parted.atom37_positions, axis=-1)
    findings = (*_findings(built.protein), *built.findings)
    changes = (*changes, *cuts, *moved, *turned, *built.changes)
    return Prepared(built.protein, runs, immobile, given, changes, findings, protein, offset)


def _right_hands(protein: Protein, runs: Sequence[slice]) -> tuple[Protein, tuple[str, ...]]:
    """Put CB where an L residue has it, in residues that are D by distortion; well-formed D residues stay."""
    x = protein.atom37_positions.astype(np.float64)
    n, ca, c, cb = (x[:, atom] for atom in (_N, _CA, _C, _CB))
    volume = np.einsum("ij,ij->i", np.cross(n - ca, c - ca), cb - ca)
    known = _inside(runs, len(protein)) & protein.atom37_mask[:, [_N, _CA, _C, _CB]].all(axis=1)
    lengths = np.stack([np.linalg.norm(atom - ca, axis=1) for atom in (n, c, cb)], axis=1)
    distorted = (volume > -CLEARLY_D) | (np.abs(lengths - _CA_BONDS) > MALFORMED).any(axis=1)
    rows = np.flatnonzero(known & (volume < 0) & distorted)
    if not len(rows):
        return protein, ()
    rotation, origin = backbone_frames(x)
    xyz = protein.atom37_positions.copy()
    for i in rows:
        aatype = protein.aatype[i]
        local = rc.ATOM14_LOCAL[aatype, rc.RESIDUE_ATOMS[rc.RESTYPES[aatype]].index("CB")]
        xyz[i, _CB] = rotation[i] @ local + origin[i]
    changes = tuple(
        f"{protein.label(int(i))} was distorted into a D residue: CB was put on the other side" for i in rows
    )
    return dataclasses.replace(protein, atom37_positions=xyz), changes


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


def _findings(protein: Protein) -> tuple[str, ...]:
    """Name what relaxation does not change: residues of the wrong hand, cis and twisted peptide bonds."""
    chain = quality.backbone(protein)
    twist = np.abs(chain.omega)
    found = [f"{protein.label(i)} is a D residue" for i in _places(chain.d_residue)]
    for i in _places(twist <= 180 - _TWIST):
        kind = "cis" if twist[i] < _TWIST else "twisted"
        found.append(f"the peptide bond before {protein.label(i)} is {kind}")
    return tuple(found)


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
            if nothing can be missing (`quality.BROKEN_BOND`).
    """
    changes: list[str] = []
    known = (protein.aatype != rc.UNKNOWN) & protein.atom37_mask.any(axis=1)
    changes += [f"{protein.label(i)} is left as it is: it is unknown or has no atoms" for i in _places(~known)]
    same_chain = protein.chain_id[1:] == protein.chain_id[:-1]
    limit = np.where(quality.joined(protein), longest_bond, quality.BROKEN_BOND)
    bonded = same_chain & known[1:] & known[:-1] & (_gaps(protein) <= limit)
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


def _gaps(protein: Protein) -> np.ndarray:
    """Return the distance from C to the next N in angstrom, judged by CA where one is missing, shape (n - 1,)."""
    x, mask = protein.atom37_positions.astype(np.float64), protein.atom37_mask
    peptide = np.linalg.norm(x[1:, _N] - x[:-1, _C], axis=1)
    trace = np.linalg.norm(x[1:, _CA] - x[:-1, _CA], axis=1) - (rc.CA_CA_TRANS - rc.PEPTIDE_BOND[0])
    has_peptide = mask[1:, _N] & mask[:-1, _C]
    has_trace = mask[1:, _CA] & mask[:-1, _CA]
    return np.where(has_peptide, peptide, np.where(has_trace, trace, np.inf))


def _part_coincident(protein: Protein) -> tuple[Protein, tuple[str, ...]]:
    """Move atoms that stand on another one a little, the same way each time.

    Raises:
        RelaxFailure: They are too many.
    """
    rows, columns = np.nonzero(protein.atom37_mask)
    x = protein.atom37_positions[rows, columns].astype(np.float64)
    order = np.argsort(x[:, 0], kind="stable")
    moved: set[int] = set()
    for step in range(1, len(order)):
        first, second = order[:-step], order[step:]
        if np.all(x[second, 0] - x[first, 0] > COINCIDENT):
            break
        near = np.linalg.norm(x[second] - x[first], axis=1) < COINCIDENT
        moved |= set(second[near].tolist())
    if not moved:
        return protein, ()
    if len(moved) > MOST_COINCIDENT * len(x):
        raise RelaxFailure("overlap", f"{len(moved)} of {len(x)} atoms stand on another")
    index = np.array(sorted(moved))
    direction = np.random.default_rng(1).normal(size=(len(index), 3))
    xyz = protein.atom37_positions.copy()
    xyz[rows[index], columns[index]] += 0.3 * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    places = ", ".join(f"{protein.label(rows[k])} {rc.ATOM37[columns[k]]}" for k in index[:5])
    more = " ..." if len(index) > 5 else ""
    text = f"{len(index)} atoms that stood on another were moved by 0.3 A: {places}{more}"
    return dataclasses.replace(protein, atom37_positions=xyz), (text,)
