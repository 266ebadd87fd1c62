"""A start for the force field from distorted coordinates: heavy atoms alone, springs for what is rigid, soft spheres.

Hydrogens are placed after it: about a distorted atom they would stand where they hold it in the wrong hand.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import openmm

from models import residue_constants as rc
from pipeline.protein import Protein
from pipeline.quality.geometry import length
from pipeline.relax import forces
from pipeline.relax.atoms import NANOMETRE
from pipeline.relax.budget import Budget, Reporter
from pipeline.relax.build import KCAL
from pipeline.relax.machine import Machine
from pipeline.relax.stereo import Torsions, peptide_distances
from pipeline.side_chains.rotamers import place

ROUGH = 0.1  # angstrom, root mean square of the springs; experimental structures and predictions have a third of it
BENT = 45.0  # degrees off the torsion of a hand or a flat peptide
NEAR = 2.2  # angstrom between heavy atoms that are not bonded
_BOND, _RIGID = 2.5e5, 1e5  # kJ/mol/nm^2, of bonds and of other distances that no torsion changes
_SPHERE = 5e4  # kJ/mol/nm^2
_OVERLAP = 0.3  # angstrom that spheres may overlap without a force
_DISULFIDE = (2.04, 3.05)  # angstrom, SG-SG and CB-SG (Engh & Huber 1991)
_TOLERANCE = 200.0  # kJ/mol/nm
_MOST = 300  # iterations
_SG, _CB, _CA, _C, _O, _N = (rc.ATOM37_ID[name] for name in ("SG", "CB", "CA", "C", "O", "N"))


@dataclasses.dataclass(frozen=True, eq=False)
class Springs:
    """Distances that are the same in every good structure of a sequence.

    Args:
        first: Residue and atom37 column of one end, shape (s, 2).
        second: Of the other end.
        distance: Angstrom, shape (s,).
        bond: Whether it is a covalent bond, shape (s,).
    """

    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray
    bond: np.ndarray

    def strain(self, protein: Protein) -> float:
        """Return the root mean square deviation from these distances, angstrom."""
        x = protein.atom37_positions.astype(np.float64)
        found = length(x[self.first[:, 0], self.first[:, 1]] - x[self.second[:, 0], self.second[:, 1]])
        return float(np.sqrt(np.mean((found - self.distance) ** 2))) if len(found) else 0.0


def springs(protein: Protein, runs: Sequence[slice], torsions: Torsions, bridges: Sequence[tuple[int, int]]) -> Springs:
    """Return the springs of a complete protein.

    Args:
        protein: With all heavy atoms of the runs.
        runs: Bonded residues.
        torsions: Says which peptide bonds are cis.
        bridges: Pairs of cysteines.
    """
    rows = np.array([i for run in runs for i in range(run.start, run.stop)], np.int64)
    parts = [_within(rows[protein.aatype[rows] == rc.RESTYPE_ID[letter]], letter) for letter in rc.RESTYPES]
    after, omega = torsions.residue[torsions.peptide, 2], torsions.angle[torsions.peptide]
    for angle in (0.0, 180.0):
        parts.append(_between(after[omega == angle], angle))
    for i, j in bridges:
        ends = ((i, _SG), (j, _SG)), ((i, _CB), (j, _SG)), ((i, _SG), (j, _CB))
        distance = np.array([_DISULFIDE[0], _DISULFIDE[1], _DISULFIDE[1]])
        first, second = (np.array([pair[k] for pair in ends]) for k in range(2))
        parts.append((first, second, distance, np.array([True, False, False])))
    return Springs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


_Part = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _within(rows: np.ndarray, letter: str) -> _Part:
    columns, distance, bond = _rigid(letter)
    first, second = (
        np.stack([np.repeat(rows, len(columns)), np.tile(columns[:, k], len(rows))], axis=1) for k in (0, 1)
    )
    return first, second, np.tile(distance, len(rows)), np.tile(bond, len(rows))


@functools.cache
def _rigid(letter: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the atom37 columns (s, 2) of a residue's distances that no torsion changes, those, and which are bonds."""
    aatype, names = rc.RESTYPE_ID[letter], rc.RESIDUE_ATOMS[letter]
    torsions = len(rc.CHI_ATOMS[letter])
    sets = np.array([[50.0], [170.0], [-90.0]]) + np.arange(torsions) * 20.0
    atoms = place(aatype, (np.eye(3), np.zeros(3)), sets)
    found: dict[tuple[str, str], float] = {}
    turning = [k for k, name in enumerate(names) if name != "O"]
    for k in turning:
        for other in turning:
            apart = length(atoms[:, k] - atoms[:, other])
            if k < other and np.ptp(apart) < 1e-3:
                found[names[k], names[other]] = float(apart[0])
    bonds = {frozenset(atoms.split("-")) for atoms, _, _ in rc.BONDS[letter]}
    for (one, two), (mean, _) in rc.bonded_distances(letter).items():
        found.pop((two, one), None)
        found[one, two] = mean
    columns = np.array([[rc.ATOM37_ID[name] for name in pair] for pair in found])
    return columns, np.array([*found.values()]), np.array([frozenset(pair) in bonds for pair in found])


def _between(after: np.ndarray, omega: float) -> _Part:
    """Return the springs of the peptide bonds before residues: all distances of CA, C, O, N and CA."""
    steps, columns = np.array([-1, -1, -1, 0, 0]), np.array([_CA, _C, _O, _N, _CA])
    one, two, distance = peptide_distances(omega)
    between = steps[one] != steps[two]
    one, two, distance = one[between], two[between], distance[between]
    ends = [
        np.stack([(after[:, None] + steps[side]).ravel(), np.tile(columns[side], len(after))], axis=1)
        for side in (one, two)
    ]
    bond = (columns[one] == _C) & (columns[two] == _N)
    return ends[0], ends[1], np.tile(distance, len(after)), np.tile(bond, len(after))


def is_rough(protein: Protein, wanted: Springs, torsions: Torsions) -> bool:
    """Return whether a structure is too distorted for a force field to mend."""
    return wanted.strain(protein) > ROUGH or bool(np.any(torsions.off(protein) > BENT))


def smooth(
    protein: Protein,
    wanted: tuple[Springs, Torsions],
    stiffness: np.ndarray,
    given: np.ndarray,
    means: tuple[Machine, Budget],
) -> Protein:
    """Return the protein with its heavy atoms moved, as little as it takes, to where they have the shape of a protein.

    Args:
        protein: Complete, with ligands (`others`) that stay where they are.
        wanted: What the shape is.
        stiffness: Of the restraints, kcal/mol/A^2, shape (n, 37); infinite for atoms that must not move.
        given: Atoms that stand where the input had them, shape (n, 37).
        means: The platform, and the budget, some iterations of which are spent.

    Raises:
        OpenMMException: A force is no number.
    """
    ends = np.concatenate([wanted[0].first, wanted[0].second])
    rows, columns = np.unique(ends, axis=0).T
    particle = {(int(i), int(k)): n for n, (i, k) in enumerate(zip(rows, columns, strict=True))}
    positions = protein.atom37_positions[rows, columns].astype(np.float64) * NANOMETRE
    k, (machine, budget) = stiffness[rows, columns], means
    system = openmm.System()
    free = np.isfinite(k)
    for moves in free:
        system.addParticle(12.0 if moves else 0.0)
    system.addForce(forces.hold(np.flatnonzero(free), k[free] * KCAL / NANOMETRE**2, positions[free]))
    for force in (*_shape(wanted, particle, columns), forces.fence(protein, given, particle)):
        if force is not None:
            system.addForce(force)
    context = machine.context(system)
    context.setPositions(positions)
    part = budget.at_most(_MOST)
    openmm.LocalEnergyMinimizer.minimize(context, _TOLERANCE, 0, Reporter(part.spend))
    budget.used += part.used
    xyz = protein.atom37_positions.copy()
    xyz[rows, columns] = context.getState(positions=True).getPositions(asNumpy=True)._value / NANOMETRE
    return dataclasses.replace(protein, atom37_positions=xyz)


def _shape(
    wanted: tuple[Springs, Torsions], particle: dict[tuple[int, int], int], columns: np.ndarray
) -> list[openmm.Force]:
    """Return springs, what leads to the torsions, and spheres of all that is more than three bonds apart."""
    springs, torsions = wanted
    first, second = ([particle[i, k] for i, k in end.tolist()] for end in (springs.first, springs.second))
    bonds = openmm.HarmonicBondForce()
    for a, b, distance, bond in zip(first, second, springs.distance, springs.bond, strict=True):
        bonds.addBond(a, b, float(distance) * NANOMETRE, _BOND if bond else _RIGID)
    spheres = openmm.CustomNonbondedForce(f"{0.5 * _SPHERE}*max(0, radius1+radius2-r)^2")
    spheres.addPerParticleParameter("radius")
    for column in columns:
        spheres.addParticle([(forces.RADIUS[rc.ATOM37[column][0]] - 0.5 * _OVERLAP) * NANOMETRE])
    chosen = np.flatnonzero(springs.bond)
    spheres.createExclusionsFromBonds([(first[k], second[k]) for k in chosen], 3)
    spheres.setNonbondedMethod(openmm.CustomNonbondedForce.CutoffNonPeriodic)
    spheres.setCutoffDistance(2 * max(forces.RADIUS.values()) * NANOMETRE)
    return [bonds, forces.lead(torsions, particle), spheres]
