"""What may be set of a relaxation, and the classes of what goes wrong: what the stage and its physics agree on."""

import dataclasses
import math
from typing import Literal

from pipeline.errors import ConfigError
from pipeline.settings import setting


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a structure is relaxed."""

    force_field: Literal["amber14"] = setting("amber14", "force field; amber14 is ff14SB in vacuum")
    stiffness: float = setting(10.0, "restraint of the heavy atoms, kcal/mol/A^2")
    tolerance: float = setting(0.239, "root mean square force that ends a minimisation, kcal/mol/A")
    rounds: int = setting(3, "minimisations, at most 3; restraints are weakened where violations remain")
    iterations: int = setting(2000, "budget over all rounds, L-BFGS iterations")
    seconds: float = setting(600.0, "budget, seconds of wall time, preparation included")
    cutoff: float = setting(0.0, "cutoff of the nonbonded forces, A; 0 for none")
    ph: float = setting(7.0, "pH of the protonation")
    disulfide: float = setting(3.0, "longest distance of two sulphurs that are bonded, A")
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
        for name in ("stiffness", "cutoff", "disulfide", "ph"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(
                    f"expected a finite number of at least 0, found {getattr(self, name)}", f"relax.{name}"
                )


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
