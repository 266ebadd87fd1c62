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
_C_H = 0.109  # nm
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

    @functools.cached_property
    def particles(self) -> dict[tuple[int, int], int]:
        """The particles of the heavy atoms by residue and atom37 column."""
        columns = [rc.ATOM37_ID.get(name) for name in self.names]
        places = zip(self.residue.tolist(), columns, strict=True)
        return {(i, column): k for k, (i, column) in enumerate(places) if column is not None}

    @property
    def histidines(self) -> dict[int, str]:
        """The state of each histidine by residue: HID, HIE or HIP."""
        names: dict[int, set[str]] = {}
        for i, name in zip(self.residue, self.names, strict=True):
            names.setdefault(int(i), set()).add(name)
        kinds = {(True, False): "HID", (False, True): "HIE", (True, True): "HIP"}
        found = {i: kinds.get(("HD1" in n, "HE2" in n)) for i, n in names.items() if {"ND1", "NE2"} <= n}
        return {i: kind for i, kind in found.items() if kind}


@dataclasses.dataclass(frozen=True)
class Chemistry:
    """What the system is made with.

    Args:
        force_field: A name of `FORCE_FIELDS`.
        solvent: A name of `SOLVENTS`.
        constraints: Whether the lengths of bonds to hydrogens are held.
        ph: Of the protonation.
    """

    force_field: str
    solvent: str
    constraints: bool
    ph: float


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
        chemistry: Force field, solvent, pH.
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
        positions=_outward(modeller.topology, np.array(modeller.positions.value_in_unit(unit.nanometer))),
        residue=np.array([int(atom.residue.id) for atom in atoms]),
        names=tuple(atom.name for atom in atoms),
        written=_written_names(protein, segments, atoms),
        cutoff=cutoff,
    )


def _outward(topology: app.Topology, positions: np.ndarray) -> np.ndarray:
    """Return the positions (nanometre) with hydrogens turned out that stand among their carbon's three neighbours.

    OpenMM places them so now and then; such a hydrogen would press its carbon into the other hand.
    """
    hydrogen = np.array([atom.element is app.element.hydrogen for atom in topology.atoms()])
    neighbours: dict[int, list[int]] = {}
    for one, two in topology.bonds():
        neighbours.setdefault(one.index, []).append(two.index)
        neighbours.setdefault(two.index, []).append(one.index)
    centres = [k for k, near in neighbours.items() if len(near) == 4 and hydrogen[near].sum() == 1]
    around = np.array([sorted(neighbours[k], key=lambda k: hydrogen[k]) for k in centres], np.int64).reshape(-1, 4)
    spokes = positions[around] - positions[centres][:, None]
    spokes /= np.linalg.norm(spokes, axis=-1, keepdims=True)
    away = -spokes[:, :3].sum(axis=1)
    away /= np.maximum(np.linalg.norm(away, axis=-1, keepdims=True), 1e-6)
    inside = np.einsum("ki,ki->k", away, spokes[:, 3]) < 0
    placed = positions.copy()
    placed[around[inside, 3]] = positions[centres][inside] + _C_H * away[inside]
    return placed


@functools.cache
def _force_field(name: str, solvent: str) -> app.ForceField:
    return app.ForceField(FORCE_FIELDS[name], *SOLVENTS[solvent])


def _system(topology: app.Topology, chemistry: Chemistry) -> tuple[openmm.System, float]:
    """Return the system without restraints, its forces in groups, and the cutoff in angstrom."""
    cutoff = LARGE_CUTOFF if topology.getNumAtoms() > LARGE else 0.0
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
