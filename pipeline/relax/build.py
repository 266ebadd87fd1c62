"""From a complete protein to an OpenMM system: topology, hydrogens, force field, restraints.

The chain is cut where it is broken: each segment is an OpenMM chain of its own, and nothing is bonded across a gap.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from models import residue_constants as rc
from pipeline.protein import Hydrogens, Protein
from pipeline.relax.atoms import NANOMETRE, heavy_topology, seeded
from pipeline.relax.machine import Machine

KCAL = 4.184  # kJ in a kcal
FORCE_FIELDS = {"amber14": "amber14/protein.ff14SB.xml", "amber99sb": "amber99sb.xml"}
SOLVENTS = {"none": (), "obc2": ("implicit/obc2.xml",), "gbn2": ("implicit/gbn2.xml",)}
RESTRAINT_GROUP, NONBONDED_GROUP, SOLVENT_GROUP = 1, 2, 3
LARGE = 6000  # atoms, above which all pairs take too long on a CPU
LARGE_CUTOFF = 16.0  # angstrom, for those


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """A system and how its atoms belong to the protein.

    Args:
        topology: With hydrogens.
        system: Force field, without restraints.
        positions: Nanometre, shape (atoms, 3).
        residue: Residue of the protein that each atom belongs to, shape (atoms,).
        names: The atoms' names.
        written: Their names in the output, empty for atoms that are not written (termini at breaks of the chain).
        cutoff: Of the nonbonded forces, angstrom; 0 for none.
    """

    topology: app.Topology
    system: openmm.System
    positions: np.ndarray
    residue: np.ndarray
    names: tuple[str, ...]
    written: tuple[str, ...]
    cutoff: float

    @property
    def histidines(self) -> dict[int, str]:
        """The state of each histidine by residue: HID, HIE or HIP."""
        names: dict[int, set[str]] = {}
        for i, name in zip(self.residue, self.names, strict=True):
            names.setdefault(int(i), set()).add(name)
        kinds = {(True, False): "HID", (False, True): "HIE", (True, True): "HIP"}
        found = {i: kinds.get(("HD1" in n, "HE2" in n)) for i, n in names.items() if {"ND1", "NE2"} <= n}
        return {i: kind for i, kind in found.items() if kind}


@dataclasses.dataclass(frozen=True, eq=False)
class Restrained:
    """A model with restraints.

    Args:
        model: What it is of.
        system: Force field and restraints; atoms that must not move have no mass.
        force: One particle for each restrained atom.
        atoms: Those, shape (r,).
        stiffness: Of each, kJ/mol/nm^2, shape (r,).
    """

    model: Model
    system: openmm.System
    force: openmm.CustomExternalForce
    atoms: np.ndarray
    stiffness: np.ndarray


@dataclasses.dataclass(frozen=True)
class Chemistry:
    """What the system is made with.

    Args:
        force_field: A name of `FORCE_FIELDS`.
        solvent: A name of `SOLVENTS`.
        constraints: Whether the lengths of bonds to hydrogens are held.
        ph: Of the protonation.
        cutoff: Of the nonbonded forces, angstrom; 0 for none in a small system, `LARGE_CUTOFF` in a large one.
    """

    force_field: str
    solvent: str
    constraints: bool
    ph: float
    cutoff: float


def build(
    protein: Protein,
    segments: Sequence[slice],
    bridges: Sequence[tuple[int, int]],
    chemistry: Chemistry,
    machine: Machine,
) -> Model:
    """Make the system of a complete protein.

    Args:
        protein: With all heavy atoms of the segments, terminal oxygens too.
        segments: The residues that are in the force field.
        bridges: Pairs of cysteines.
        chemistry: Force field, solvent, pH, cutoff.
        machine: Places the hydrogens.

    Raises:
        ValueError: The force field has no template for a residue.
    """
    topology, positions = heavy_topology(protein, segments)
    sulphurs = {int(atom.residue.id): atom for atom in topology.atoms() if atom.name == "SG"}
    for i, j in bridges:
        topology.addBond(sulphurs[i], sulphurs[j])
    modeller = app.Modeller(topology, positions * unit.nanometer)
    with seeded():
        modeller.addHydrogens(pH=chemistry.ph, platform=machine.platform)
    atoms = list(modeller.topology.atoms())
    system, cutoff = _system(modeller.topology, chemistry)
    return Model(
        topology=modeller.topology,
        system=system,
        positions=np.array(modeller.positions.value_in_unit(unit.nanometer)),
        residue=np.array([int(atom.residue.id) for atom in atoms]),
        names=tuple(atom.name for atom in atoms),
        written=_written_names(protein, segments, atoms),
        cutoff=cutoff,
    )


@functools.cache
def _force_field(name: str, solvent: str) -> app.ForceField:
    return app.ForceField(FORCE_FIELDS[name], *SOLVENTS[solvent])


def _system(topology: app.Topology, chemistry: Chemistry) -> tuple[openmm.System, float]:
    """Return the system without restraints, its forces in groups, and the cutoff in angstrom."""
    cutoff = chemistry.cutoff or (LARGE_CUTOFF if topology.getNumAtoms() > LARGE else 0.0)
    method: dict[str, Any] = {"nonbondedMethod": app.NoCutoff}
    if cutoff:
        method |= {
            "nonbondedMethod": app.CutoffNonPeriodic,
            "nonbondedCutoff": cutoff * NANOMETRE * unit.nanometer,
        }
    if chemistry.constraints:  # flexible: a bond whose constraint is taken away is there nevertheless
        method |= {"constraints": app.HBonds, "flexibleConstraints": True}
    system = _force_field(chemistry.force_field, chemistry.solvent).createSystem(
        topology,
        rigidWater=False,
        removeCMMotion=False,
        **method,
    )
    for force in system.getForces():
        if isinstance(force, openmm.NonbondedForce):
            force.setForceGroup(NONBONDED_GROUP)
        elif isinstance(force, openmm.GBSAOBCForce | openmm.CustomGBForce):
            force.setForceGroup(SOLVENT_GROUP)
    return system, cutoff


def restrain(model: Model, stiffness: np.ndarray) -> Restrained:
    """Add harmonic restraints, 0.5 k (x - x0)^2, of the heavy atoms, in a force group of their own.

    Args:
        model: Is not changed.
        stiffness: kcal/mol/A^2, shape (n, 37), by residue and atom37; infinite for an atom that must not move.
    """
    system = openmm.XmlSerializer.clone(model.system)
    force = openmm.CustomExternalForce("0.5*k*((x-x0)^2+(y-y0)^2+(z-z0)^2)")
    for name in ("k", "x0", "y0", "z0"):
        force.addPerParticleParameter(name)
    atoms, constants = [], []
    for index, (row, name) in enumerate(zip(model.residue, model.names, strict=True)):
        column = rc.ATOM37_ID.get(name)
        if column is None:
            continue
        k = float(stiffness[row, column]) * KCAL / NANOMETRE**2
        if np.isfinite(k):
            force.addParticle(index, [k, *model.positions[index]])
            atoms.append(index)
            constants.append(k)
        else:
            system.setParticleMass(index, 0)  # what has no mass does not move
    force.setForceGroup(RESTRAINT_GROUP)
    system.addForce(force)
    _free_of_massless(system)
    return Restrained(model, system, force, np.array(atoms, np.int64), np.array(constants))


def _free_of_massless(system: openmm.System) -> None:
    """Remove the constraints of particles without mass, which OpenMM refuses; their bonds hold them."""
    for k in reversed(range(system.getNumConstraints())):
        first, second, _ = system.getConstraintParameters(k)
        if not (system.getParticleMass(first)._value and system.getParticleMass(second)._value):
            system.removeConstraint(k)


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
