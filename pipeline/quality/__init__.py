"""What is right and wrong with a structure, residue by residue: NumPy only, milliseconds for a domain."""

from pipeline.quality.assessment import assess
from pipeline.quality.backbone import BROKEN_BOND, backbone, joined
from pipeline.quality.geometry import torsion
from pipeline.quality.measure import measure
from pipeline.quality.violations import violations

__all__ = ["BROKEN_BOND", "assess", "backbone", "joined", "measure", "torsion", "violations"]
