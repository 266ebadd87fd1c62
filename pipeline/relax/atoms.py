"""Heavy atoms for the force field: what PDBFixer adds, the ends of chains, disulfide bonds."""

import contextlib
import dataclasses
import io
import random
from collections.abc import Iterator, Sequence

import numpy as np
from openmm import app, unit
from pdbfixer import PDBFixer

from models import residue_constants as rc
from pipeline.protein import Protein
from pipeline.relax.machine import Machine
from pipeline.relax.settings import RelaxFailure

NANOMETRE = 0.1  # nm in an angstrom
_OXT = rc.ATOM37_ID["OXT"]
_CA, _C, _O, _SG = (rc.ATOM37_ID[name] for name in ("CA", "C", "O", "SG"))
# PDBFixer starts from a file; this one is replaced by our topology.
_PLACEHOLDER = "ATOM      1  CA  ALA A   1       0.000   0.000   0.000  1.00  0.00           C\nEND\n"


def add_missing_atoms(protein: Protein, segments: Sequence[slice], machine: Machine) -> tuple[Protein, list[str]]:
    """Add with PDBFixer the heavy atoms that residues of the segments still lack, and say where."""
    incomplete = [
        i
        for segment in segments
        for i in range(segment.start, segment.stop)
        if np.any((rc.ATOM37_MASK[protein.aatype[i]] > 0) & ~protein.atom37_mask[i])
    ]
    if not incomplete:
        return protein, []
    topology, positions = heavy_topology(protein, segments)
    fixer = PDBFixer(pdbfile=io.StringIO(_PLACEHOLDER), platform=machine.platform)
    fixer.topology, fixer.positions = topology, positions * unit.nanometer
    fixer.missingResidues = {}
    fixer.findMissingAtoms()
    fixer.missingTerminals = {}
    with seeded():
        fixer.addMissingAtoms(seed=1)
    found = np.array(fixer.positions.value_in_unit(unit.angstrom), np.float32)
    xyz, mask = protein.atom37_positions.copy(), protein.atom37_mask.copy()
    for atom in fixer.topology.atoms():
        i, column = int(atom.residue.id), rc.ATOM37_ID.get(atom.name)
        if column is not None and not mask[i, column]:
            xyz[i, column], mask[i, column] = found[atom.index], True
    changes = [
        f"{protein.label(i)} got {' '.join(rc.ATOM37[k] for k in np.flatnonzero(mask[i] & ~protein.atom37_mask[i]))}"
        for i in incomplete
    ]
    return dataclasses.replace(protein, atom37_positions=xyz, atom37_mask=mask), changes


def add_terminal_oxygens(protein: Protein, segments: Sequence[slice]) -> Protein:
    """Add the second oxygen to the end of each segment, opposite the first, and drop it elsewhere."""
    xyz, mask = protein.atom37_positions.copy(), protein.atom37_mask.copy()
    ends = [segment.stop - 1 for segment in segments]
    inside = np.ones(len(protein), bool)
    inside[ends] = False
    mask[inside, _OXT] = False
    for i in ends:
        if not mask[i, _OXT]:
            axis = xyz[i, _C] - xyz[i, _CA]
            axis /= np.linalg.norm(axis)
            first = xyz[i, _O] - xyz[i, _C]
            xyz[i, _OXT] = xyz[i, _C] + 2 * np.dot(first, axis) * axis - first
            mask[i, _OXT] = True
    return dataclasses.replace(protein, atom37_positions=xyz, atom37_mask=mask)


def heavy_topology(protein: Protein, segments: Sequence[slice]) -> tuple[app.Topology, np.ndarray]:
    """Return a topology of the segments' heavy atoms, residues named by their index, and positions in nanometre."""
    topology = app.Topology()
    positions = []
    for number, segment in enumerate(segments):
        chain = topology.addChain(str(number))
        for i in range(segment.start, segment.stop):
            residue = topology.addResidue(protein.residue_name(i), chain, str(i))
            for column in np.flatnonzero(protein.atom37_mask[i]):
                name = rc.ATOM37[column]
                topology.addAtom(name, app.Element.getBySymbol(name[0]), residue)
                positions.append(protein.atom37_positions[i, column])
    topology.createStandardBonds()
    return topology, np.array(positions, np.float64) * NANOMETRE


def disulfides(
    protein: Protein, segments: Sequence[slice], longest: float, forced: Sequence[tuple[int, int]] = ()
) -> list[tuple[int, int]]:
    """Pair cysteines by the distance of their sulphurs (angstrom): forced ones, then the nearest first, each once."""
    inside = [i for segment in segments for i in range(segment.start, segment.stop)]
    cysteines = [i for i in inside if protein.aatype[i] == rc.RESTYPE_ID["C"] and protein.atom37_mask[i, _SG]]
    sulphur = protein.atom37_positions[:, _SG]
    distances = sorted(
        (float(np.linalg.norm(sulphur[i] - sulphur[j])), i, j) for i in cysteines for j in cysteines if i < j
    )
    pairs: list[tuple[int, int]] = list(forced)
    for distance, i, j in distances:
        if distance <= longest and not {i, j} & {k for pair in pairs for k in pair}:
            pairs.append((i, j))
    return pairs


def forced_bridges(
    protein: Protein, segments: Sequence[slice], wanted: Sequence[tuple[str, ...]]
) -> list[tuple[int, int]]:
    """Return the residues of the pairs (chain, number, chain, number) that the user bonds.

    Raises:
        RelaxFailure: There is no such residue in the force field, it is no cysteine, or it is in two pairs.
    """
    inside = {i for segment in segments for i in range(segment.start, segment.stop)}
    rows = {(str(protein.chain_id[i]), protein.author_number[i]): i for i in inside}
    pairs = []
    for chain, number, other, other_number in wanted:
        found = [rows.get((chain, number)), rows.get((other, other_number))]
        for place, i in zip((f"{chain}:{number}", f"{other}:{other_number}"), found, strict=True):
            if i is None or protein.aatype[i] != rc.RESTYPE_ID["C"] or not protein.atom37_mask[i, _SG]:
                raise RelaxFailure("template", f"{place} is no cysteine that can be bonded")
        pairs.append((int(found[0] or 0), int(found[1] or 0)))
    members = [i for pair in pairs for i in pair]
    if len(set(members)) < len(members):
        raise RelaxFailure("template", "a cysteine is in two forced bonds")
    return pairs


@contextlib.contextmanager
def seeded() -> Iterator[None]:
    """Give OpenMM's Python code, which draws from the global generator, the same numbers each time."""
    state = random.getstate()
    random.seed(1)
    try:
        yield
    finally:
        random.setstate(state)
