"""From a protein to an OpenMM system: missing atoms, termini, disulfides, hydrogens, restraints.

The chain is cut where it is broken: each segment is an OpenMM chain of its own, and nothing is bonded across a gap.
"""

import contextlib
import dataclasses
import io
import random
from collections.abc import Iterator, Sequence

import numpy as np
import openmm
from openmm import app, unit
from pdbfixer import PDBFixer

from models import residue_constants as rc
from pipeline.protein import Hydrogens, Protein

NANOMETRE = 0.1  # nm in an angstrom
KCAL = 4.184  # kJ in a kcal
FORCE_FIELDS = {"amber14": "amber14/protein.ff14SB.xml"}
RESTRAINT_GROUP, NONBONDED_GROUP = 1, 2
_OXT = rc.ATOM37_ID["OXT"]
_N, _CA, _C, _O, _SG = (rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O", "SG"))
# PDBFixer starts from a file; this one is replaced by our topology.
_PLACEHOLDER = "ATOM      1  CA  ALA A   1       0.000   0.000   0.000  1.00  0.00           C\nEND\n"


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where the physics runs: an OpenMM platform and its properties."""

    platform: openmm.Platform
    properties: dict[str, str]

    @property
    def name(self) -> str:
        """The platform's name."""
        return self.platform.getName()

    def context(self, system: openmm.System) -> openmm.Context:
        """Return a context of the system; the integrator only carries the force groups."""
        return openmm.Context(system, openmm.VerletIntegrator(0.001), self.platform, self.properties)


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A system and how its atoms belong to the protein.

    Args:
        topology: With hydrogens.
        system: Force field and restraints.
        restraint: The force of the restraints, one particle for each restrained atom.
        restrained: Its atoms, shape (r,).
        positions: Nanometre, shape (atoms, 3).
        residue: Residue of the protein that each atom belongs to, shape (atoms,).
        names: The atoms' names.
        written: Their names in the output, empty for atoms that are not written (termini at breaks of the chain).
    """

    topology: app.Topology
    system: openmm.System
    restraint: openmm.CustomExternalForce
    restrained: np.ndarray
    positions: np.ndarray
    residue: np.ndarray
    names: tuple[str, ...]
    written: tuple[str, ...]


def choose_machine(platform: str, threads: int) -> Machine:
    """Return the platform asked for; `auto` takes the first of CUDA, HIP and CPU that works.

    OpenCL is never taken unasked: drivers that crash the process are common.

    Raises:
        OpenMMException: The platform does not exist here.
    """
    if platform == "auto":
        return next(machine for machine in map(_working, ("CUDA", "HIP", "CPU")) if machine is not None)
    return _machine(platform, threads)


def _working(name: str) -> Machine | None:
    try:
        machine = _machine(name, 1)
        system = openmm.System()
        system.addParticle(1.0)
        machine.context(system)
    except openmm.OpenMMException:
        return None
    return machine


def _machine(name: str, threads: int) -> Machine:
    platform = openmm.Platform.getPlatformByName(name)
    if name == "CPU":
        # Modeller and PDBFixer make contexts of their own, without properties: these are their defaults.
        platform.setPropertyDefaultValue("Threads", str(threads))
        platform.setPropertyDefaultValue("DeterministicForces", "true")
        return Machine(platform, {"Threads": str(threads), "DeterministicForces": "true"})
    return Machine(platform, {"Precision": "mixed"} if name in ("CUDA", "OpenCL", "HIP") else {})


# Atoms ----------------------------------------------------------------------------------------------------------------


def add_missing_atoms(protein: Protein, segments: Sequence[slice], machine: Machine) -> tuple[Protein, list[str]]:
    """Add the heavy atoms that residues of the segments lack, and say where."""
    incomplete = [
        i
        for segment in segments
        for i in range(segment.start, segment.stop)
        if np.any((rc.ATOM37_MASK[protein.aatype[i]] > 0) & ~protein.atom37_mask[i])
    ]
    if not incomplete:
        return protein, []
    topology, positions = _heavy_topology(protein, segments)
    fixer = PDBFixer(pdbfile=io.StringIO(_PLACEHOLDER), platform=machine.platform)
    fixer.topology, fixer.positions = topology, positions * unit.nanometer
    fixer.missingResidues = {}
    fixer.findMissingAtoms()
    fixer.missingTerminals = {}
    with _seeded():
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


def _heavy_topology(protein: Protein, segments: Sequence[slice]) -> tuple[app.Topology, np.ndarray]:
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


def disulfides(protein: Protein, segments: Sequence[slice], longest: float) -> list[tuple[int, int]]:
    """Pair cysteines by the distance of their sulphurs (angstrom), the nearest first, each once."""
    inside = [i for segment in segments for i in range(segment.start, segment.stop)]
    cysteines = [i for i in inside if protein.aatype[i] == rc.RESTYPE_ID["C"] and protein.atom37_mask[i, _SG]]
    sulphur = protein.atom37_positions[:, _SG]
    distances = sorted(
        (float(np.linalg.norm(sulphur[i] - sulphur[j])), i, j) for i in cysteines for j in cysteines if i < j
    )
    pairs: list[tuple[int, int]] = []
    for distance, i, j in distances:
        if distance <= longest and not {i, j} & {k for pair in pairs for k in pair}:
            pairs.append((i, j))
    return pairs


@contextlib.contextmanager
def _seeded() -> Iterator[None]:
    """Give OpenMM's Python code, which draws from the global generator, the same numbers each time."""
    state = random.getstate()
    random.seed(1)
    try:
        yield
    finally:
        random.setstate(state)


# The system -----------------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Chemistry:
    """What the system is made with.

    Args:
        force_field: A name of `FORCE_FIELDS`.
        ph: Of the protonation.
        cutoff: Of the nonbonded forces, angstrom; 0 for none.
    """

    force_field: str
    ph: float
    cutoff: float


def build(
    protein: Protein,
    segments: Sequence[slice],
    bridges: Sequence[tuple[int, int]],
    stiffness: np.ndarray,
    chemistry: Chemistry,
    machine: Machine,
) -> Model:
    """Make the system of a complete protein.

    Args:
        protein: With all heavy atoms of the segments, terminal oxygens too.
        segments: The residues that are in the force field.
        bridges: Pairs of cysteines.
        stiffness: Of each heavy atom's restraint, kcal/mol/A^2, shape (n, 37); infinite for an atom that must not move.
        chemistry: Force field, pH, cutoff.
        machine: Places the hydrogens.

    Raises:
        ValueError: The force field has no template for a residue.
    """
    topology, positions = _heavy_topology(protein, segments)
    sulphurs = {int(atom.residue.id): atom for atom in topology.atoms() if atom.name == "SG"}
    for i, j in bridges:
        topology.addBond(sulphurs[i], sulphurs[j])
    modeller = app.Modeller(topology, positions * unit.nanometer)
    with _seeded():
        modeller.addHydrogens(pH=chemistry.ph, platform=machine.platform)
    method = {"nonbondedMethod": app.NoCutoff}
    if chemistry.cutoff:
        method = {
            "nonbondedMethod": app.CutoffNonPeriodic,
            "nonbondedCutoff": chemistry.cutoff * NANOMETRE * unit.nanometer,
        }
    system = app.ForceField(FORCE_FIELDS[chemistry.force_field]).createSystem(
        modeller.topology, constraints=None, rigidWater=False, removeCMMotion=False, **method
    )
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setForceGroup(NONBONDED_GROUP)
    atoms = list(modeller.topology.atoms())
    places = np.array(modeller.positions.value_in_unit(unit.nanometer))
    residue = np.array([int(atom.residue.id) for atom in atoms])
    restraint, restrained = _restrain(system, places, atoms, stiffness)
    return Model(
        topology=modeller.topology,
        system=system,
        restraint=restraint,
        restrained=restrained,
        positions=places,
        residue=residue,
        names=tuple(atom.name for atom in atoms),
        written=_written_names(protein, segments, atoms),
    )


def _restrain(
    system: openmm.System, positions: np.ndarray, atoms: Sequence[app.topology.Atom], stiffness: np.ndarray
) -> tuple[openmm.CustomExternalForce, np.ndarray]:
    """Add harmonic restraints, 0.5 k (x - x0)^2, of the heavy atoms, in a force group of their own."""
    force = openmm.CustomExternalForce("0.5*k*((x-x0)^2+(y-y0)^2+(z-z0)^2)")
    for name in ("k", "x0", "y0", "z0"):
        force.addPerParticleParameter(name)
    restrained = []
    for atom in atoms:
        if atom.element is app.element.hydrogen:
            continue
        k = float(stiffness[int(atom.residue.id), rc.ATOM37_ID[atom.name]])
        if np.isfinite(k):
            force.addParticle(atom.index, [k * KCAL / NANOMETRE**2, *positions[atom.index]])
            restrained.append(atom.index)
        else:
            system.setParticleMass(atom.index, 0)  # what has no mass does not move
    force.setForceGroup(RESTRAINT_GROUP)
    system.addForce(force)
    return force, np.array(restrained, np.int64)


def _written_names(protein: Protein, segments: Sequence[slice], atoms: Sequence[app.topology.Atom]) -> tuple[str, ...]:
    """Return each atom's name in the output; empty for the atoms of a terminus that is only a break in the chain."""
    chain_starts = {chain.start for chain in protein.chains}
    chain_stops = {chain.stop for chain in protein.chains}
    false_starts = {s.start for s in segments} - chain_starts
    false_ends = {s.stop - 1 for s in segments if s.stop not in chain_stops}
    names = []
    for atom in atoms:
        i, name = int(atom.residue.id), atom.name
        if i in false_starts and name in ("H", "H1", "H2", "H3"):
            name = "H" if name in ("H", "H1") and protein.residue_name(i) != "PRO" else ""
        if i in false_ends and name == "OXT":
            name = ""
        names.append(name)
    return tuple(names)


def to_protein(model: Model, protein: Protein, positions: np.ndarray) -> Protein:
    """Return the protein with the model's atoms at `positions` (nanometre); residues outside the segments stay."""
    xyz, mask = protein.atom37_positions.copy(), protein.atom37_mask.copy()
    hydrogens: list[tuple[int, str, np.ndarray]] = []
    for i, name, written, place in zip(model.residue, model.names, model.written, positions / NANOMETRE, strict=True):
        column = rc.ATOM37_ID.get(name)
        if column is None:
            if written:
                hydrogens.append((int(i), written, place))
        else:
            xyz[i, column], mask[i, column] = place, bool(written)
    return dataclasses.replace(
        protein,
        atom37_positions=xyz,
        atom37_mask=mask,
        hydrogens=Hydrogens(
            np.array([i for i, _, _ in hydrogens], np.int32),
            tuple(name for _, name, _ in hydrogens),
            np.array([place for _, _, place in hydrogens], np.float32).reshape(-1, 3),
        ),
    )
