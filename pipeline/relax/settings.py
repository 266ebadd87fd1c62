"""What may be set of a relaxation, and the classes of what goes wrong: what the stage and its physics agree on."""

import dataclasses
import math
import re
from typing import Any, Literal

from pipeline.errors import ConfigError
from pipeline.settings import setting

_BRIDGE = re.compile(r"(\w+):(-?\d+[A-Za-z]?)-(\w+):(-?\d+[A-Za-z]?)")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a structure is relaxed."""

    protocol: Literal["foldline", "alphafold2"] = setting(
        "foldline", "alphafold2: its restraints, force field and tolerance, whatever is set below"
    )
    models: Literal["best", "all", "none"] = setting("best", "which of several predictions are relaxed")
    min_plddt: float = setting(0.0, "predictions of a lower mean pLDDT (0-100) are not relaxed")
    force_field: Literal["amber14", "amber99sb"] = setting("amber14", "force field; amber14 is ff14SB")
    solvent: Literal["none", "obc2", "gbn2"] = setting("none", "implicit solvent; on a CPU 30 to 50 times slower")
    constraints: bool = setting(False, "hold the lengths of bonds to hydrogens; 6 times slower")
    stiffness: float = setting(10.0, "restraint of the heavy atoms, kcal/mol/A^2")
    confidence: bool = setting(True, "weaken the restraints where pLDDT is low, to a tenth at 50")
    tolerance: float = setting(0.239, "root mean square force that ends a minimisation, kcal/mol/A")
    rounds: int = setting(3, "most minimisations; where violations remain restraints are weakened before the next")
    dynamics: float = setting(0.0, "restrained molecular dynamics with cooling for bad starts, ps; 0 for none")
    iterations: int = setting(2000, "budget over all rounds, L-BFGS iterations")
    seconds: float = setting(600.0, "budget, seconds of wall time, preparation included")
    cutoff: float = setting(
        8.0,
        "cutoff of the nonbonded forces that are minimised in vacuum, A; 0: that of energies (none; 6000 atoms: 16)",
    )
    ph: float = setting(7.0, "pH of the protonation")
    disulfide: float = setting(3.0, "longest distance of two sulphurs that are bonded, A")
    bridges: tuple[str, ...] = setting((), "pairs of cysteines to bond whatever their distance, such as A:5-A:55")
    longest_bond: float = setting(4.0, "longest distance of C and N of consecutive residues that are bonded, A")
    platform: Literal["auto", "CPU", "CUDA", "OpenCL", "HIP", "Reference"] = setting("CPU", "OpenMM platform")
    threads: int = setting(1, "threads of the CPU platform; the result is reproducible for one number")
    isolate: bool = setting(True, "run the physics in a process of its own, which survives crashes and hangs")
    strict: bool = setting(False, "exit with an error where the structure could not be relaxed fully")
    pdb: bool = setting(False, "write the structure in PDB format too, beside the mmCIF file")

    def __post_init__(self) -> None:
        """Refuse values without meaning."""
        for name in ("tolerance", "rounds", "iterations", "seconds", "longest_bond", "threads"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"expected a finite number above 0, found {getattr(self, name)}", f"relax.{name}")
        for name in ("stiffness", "cutoff", "disulfide", "ph", "dynamics", "min_plddt"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"expected a finite number of at least 0, found {getattr(self, name)}", f"relax.{name}"
                )
        for text in self.bridges:
            if not _BRIDGE.fullmatch(text):
                problem = f"expected two residues such as A:5-A:55, found {text!r}"
                raise ConfigError(problem, "relax.bridges", "name each by chain and author's number")

    def resolved(self) -> "Settings":
        """Return the settings that the protocol stands for."""
        return dataclasses.replace(self, **PROTOCOLS[self.protocol])

    def pairs(self) -> tuple[tuple[str, str, str, str], ...]:
        """Return chain and author's number of both residues of each bridge."""
        matches = (_BRIDGE.fullmatch(text) for text in self.bridges)
        return tuple((m[1], m[2], m[3], m[4]) for m in matches if m)


# What the reference sets; beside it, it excludes residues in violation from the restraints, which move along.
PROTOCOLS: dict[str, dict[str, Any]] = {
    "foldline": {},
    "alphafold2": {
        "force_field": "amber99sb",
        "solvent": "none",
        "constraints": True,
        "stiffness": 10.0,
        "confidence": False,
        "tolerance": 0.239,  # DeepMind's 2.39 kcal/mol/nm; ColabFold's fork stops ten times earlier
        "rounds": 3,
        "dynamics": 0.0,
        "cutoff": 0.0,
    },
}

FAILURES = {
    "coordinates": "the input has no usable coordinates",
    "template": "the force field does not know a residue as it is",
    "topology": "the atoms cannot be put into the force field",
    "energy": "the energy is no number",
    "overlap": "atoms overlap so much that they cannot be parted",
    "worse": "the minimised structure is worse",
    "budget": "the budget was spent",
    "memory": "memory ran out",
    "platform": "the platform does not work here",
    "crash": "the process ended",
}


class RelaxFailure(Exception):  # noqa: N818 - it ends a rung, not the stage
    """A rung of the ladder gave nothing; `kind` is a key of `FAILURES`."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{FAILURES[kind]}{': ' if detail else ''}{detail}")
        self.kind = kind
