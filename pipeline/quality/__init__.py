"""What is right and wrong with a structure, residue by residue: NumPy only, milliseconds for a domain."""

from pipeline.quality.assessment import assess
from pipeline.quality.backbone import BROKEN_BOND, Backbone, backbone, joined
from pipeline.quality.covalent import outliers
from pipeline.quality.geometry import torsion
from pipeline.quality.measure import Quality, measure
from pipeline.quality.violations import Violations, violations

__all__ = [
    "BROKEN_BOND",
    "Backbone",
    "Quality",
    "Violations",
    "assess",
    "backbone",
    "joined",
    "measure",
    "outliers",
    "torsion",
    "violations",
]
