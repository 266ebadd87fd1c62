"""What is unusual about single residues of the final model, in words: the page marks and lists them."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from models import residue_constants as rc
from pipeline.protein import Protein
from pipeline.quality import ramachandran
from pipeline.quality.assessment import Findings, find
from pipeline.quality.covalent import CB_OUTLIER, PLANE_OUTLIER

LISTED = 200  # rows of the page's table


@dataclasses.dataclass(frozen=True)
class Fault:
    """One finding at one residue.

    Args:
        residue: Index, from 0.
        kind: Key of KINDS.
        words: For people.
    """

    residue: int
    kind: str
    words: str


KINDS = {
    "violation": "violation of stereochemistry",
    "clash": "overlap of atoms",
    "backbone": "unusual backbone",
    "geometry": "unusual bonds or angles",
    "side chain": "unusual side chain",
}
"""What the page tells apart, the worst first."""


def faults(model: Protein) -> list[Fault]:
    """Return what is unusual, residue by residue, the worst kind of each residue first."""
    found = find(model)
    order = list(KINDS)
    everything = [*_violations(found), *_clashes(found), *_backbone(found), *_geometry(found), *_side_chains(found)]
    return sorted(everything, key=lambda fault: (fault.residue, order.index(fault.kind)))


def _violations(found: Findings) -> Iterator[Fault]:
    words = {
        "bond": "peptide bond of wrong length",
        "angle": "peptide bond at a wrong angle",
        "clash": "inside another residue",
        "within": "distorted",
    }
    for key, what in words.items():
        yield from (Fault(i, "violation", what) for i in _where(getattr(found.violations, key)))
    yield from (Fault(i, "violation", "of the wrong chirality (D)") for i in _where(found.chain.d_residue))


def _clashes(found: Findings) -> Iterator[Fault]:
    count, worst = found.clashes.of_residues(len(found.protein))
    for i in _where(count > 0):
        noun = "atom overlaps" if count[i] == 1 else "atoms overlap"
        yield Fault(i, "clash", f"{count[i]} {noun}, by {worst[i]:.1f} \u00c5 at most")


def _backbone(found: Findings) -> Iterator[Fault]:
    yield from (Fault(i, "backbone", "Ramachandran outlier") for i in _where(found.level == ramachandran.OUTLIER))
    common = found.protein.aatype == rc.RESTYPE_ID["P"]  # many prolines follow a cis bond
    yield from (Fault(i, "backbone", "cis peptide bond before it") for i in _where((found.peptide == "cis") & ~common))
    yield from (Fault(i, "backbone", "twisted peptide bond before it") for i in _where(found.peptide == "twisted"))
    yield from (Fault(int(i), "backbone", "chain break after it") for i in found.chain.breaks)


def _geometry(found: Findings) -> Iterator[Fault]:
    for count, what in ((found.bonds, "bond"), (found.angles, "angle")):
        for i in _where(count > 0):
            yield Fault(i, "geometry", f"{count[i]} unusual {what}{'' if count[i] == 1 else 's'}")
    yield from (Fault(i, "geometry", "group out of plane") for i in _where(found.plane > PLANE_OUTLIER))
    yield from (Fault(i, "geometry", "CB out of place") for i in _where(found.cb >= CB_OUTLIER))


def _side_chains(found: Findings) -> Iterator[Fault]:
    yield from (Fault(i, "side chain", "rotamer outlier") for i in _where(found.rotamer_outlier))
    for i in _where(found.missing > 0):
        yield Fault(i, "side chain", f"{found.missing[i]} atom{'' if found.missing[i] == 1 else 's'} missing")


def _where(flags: np.ndarray) -> list[int]:
    return [int(i) for i in np.flatnonzero(flags)]
