"""Everything that is measured residue by residue within milliseconds, and the counts of it that records keep."""

import dataclasses

import numpy as np

from models import residue_constants as rc
from pipeline.protein import Protein
from pipeline.quality import ramachandran, rotamers
from pipeline.quality.backbone import CIS_OMEGA, Backbone, backbone, radius_of_gyration
from pipeline.quality.clashes import Clashes, find_clashes
from pipeline.quality.covalent import CB_OUTLIER, PLANE_OUTLIER, cb_deviation, outliers, planarity
from pipeline.quality.violations import Violations, violations


@dataclasses.dataclass(frozen=True, eq=False)
class Findings:
    """What was measured of each residue; nan where it cannot be.

    Args:
        protein: Of what.
        violations: AlphaFold 2's.
        chain: Torsions, hands, breaks.
        bonds: Outliers, shape (n,).
        angles: Outliers, shape (n,).
        plane: Largest distance from a plane, angstrom, shape (n,).
        cb: Deviation of CB, angstrom, shape (n,).
        kind: Of Ramachandran map, shape (n,).
        ramachandran: Score, 0-1, shape (n,).
        chi: Degrees, shape (n, 4).
        rotamer: Score, 0-1, shape (n,).
        clashes: With hydrogens.
    """

    protein: Protein
    violations: Violations
    chain: Backbone
    bonds: np.ndarray
    angles: np.ndarray
    plane: np.ndarray
    cb: np.ndarray
    kind: np.ndarray
    ramachandran: np.ndarray
    chi: np.ndarray
    rotamer: np.ndarray
    clashes: Clashes

    @property
    def level(self) -> np.ndarray:
        """Ramachandran level of each residue, -1 where it has none, shape (n,)."""
        return ramachandran.levels(self.kind, self.ramachandran)

    @property
    def rotamer_outlier(self) -> np.ndarray:
        """Residues with an unusual side chain, shape (n,)."""
        return self.rotamer < rotamers.OUTLIER_SHARE

    @property
    def missing(self) -> np.ndarray:
        """How many heavy atoms each residue lacks, shape (n,)."""
        return np.sum((rc.ATOM37_MASK[self.protein.aatype] > 0) & ~self.protein.atom37_mask, axis=1)

    @property
    def peptide(self) -> np.ndarray:
        """The peptide bond before each residue: `trans`, `cis`, `twisted`, empty where there is none, shape (n,)."""
        twist = np.abs(self.chain.omega)
        words = np.where(twist < CIS_OMEGA, "cis", np.where(twist > 180 - CIS_OMEGA, "trans", "twisted"))
        return np.where(np.isnan(twist), "", words)


def find(protein: Protein) -> Findings:
    """Measure a structure; coordinates may be anything."""
    with np.errstate(invalid="ignore", over="ignore"):
        chain = backbone(protein)
        bonds, angles = outliers(protein)
        kind, score = ramachandran_of(protein, chain)
        chi = rotamers.chi_angles(protein.aatype, protein.atom37_positions, protein.atom37_mask)
        return Findings(
            protein=protein,
            violations=violations(protein),
            chain=chain,
            bonds=bonds,
            angles=angles,
            plane=planarity(protein),
            cb=cb_deviation(protein),
            kind=kind,
            ramachandran=score,
            chi=chi,
            rotamer=rotamers.scores(protein.aatype, chi),
            clashes=find_clashes(protein, chain.bonded),
        )


def ramachandran_of(protein: Protein, chain: Backbone) -> tuple[np.ndarray, np.ndarray]:
    """Return the kind of map and the score, 0-1, of each residue, nan for those without both torsions, two (n,)."""
    proline_next = np.append(chain.bonded & (protein.aatype[1:] == rc.RESTYPE_ID["P"]), False)
    kind = ramachandran.kinds(protein.aatype, chain.omega, proline_next)
    known = np.where(protein.aatype == rc.UNKNOWN, np.nan, 1.0)
    return kind, ramachandran.scores(kind, chain.phi * known, chain.psi)


def assess(protein: Protein) -> dict[str, int | float | None]:
    """Return the counts that the records keep (`violations` of confidence.json and relax.json)."""
    return counts(find(protein))


def counts(found: Findings) -> dict[str, int | float | None]:
    """Return the counts of what was found; a share or a size that nothing is known of is None."""
    protein, bad, chain = found.protein, found.violations, found.chain
    lost = protein.atom37_mask & ~np.isfinite(protein.atom37_positions).all(axis=-1)
    with np.errstate(over="ignore", invalid="ignore"):
        gyration = radius_of_gyration(protein)
    return {
        "residues": len(protein),
        "violating_residues": int(bad.residues.sum()),
        "violation_fraction": round(float(bad.residues.mean()), 4),
        "bond_violations": int(bad.bond.sum()),
        "angle_violations": int(bad.angle.sum()),
        "clash_violations": int(bad.clash.sum()),
        "within_violations": int(bad.within.sum()),
        "clashes": len(bad.clashes),
        "ca_clashes": len(chain.ca_clashes),
        "clash_score": round(found.clashes.score, 2),
        "bond_outliers": int(found.bonds.sum()),
        "angle_outliers": int(found.angles.sum()),
        "plane_outliers": int(np.sum(found.plane > PLANE_OUTLIER)),
        "cb_outliers": int(np.sum(found.cb >= CB_OUTLIER)),
        "ramachandran_favoured": _share(found.level, ramachandran.FAVOURED),
        "ramachandran_allowed": _share(found.level, ramachandran.ALLOWED),
        "ramachandran_outliers": int(np.sum(found.level == ramachandran.OUTLIER)),
        "rotamer_outliers": int(found.rotamer_outlier.sum()),
        "chain_breaks": len(chain.breaks),
        "cis_peptides": int(np.sum(found.peptide == "cis")),
        "twisted_peptides": int(np.sum(found.peptide == "twisted")),
        "d_residues": int(chain.d_residue.sum()),
        "radius_of_gyration": finite(gyration, 2),
        "missing_atoms": int(found.missing.sum()),
        "atoms_not_finite": int(lost.sum()),
        "unknown_residues": int(np.sum(protein.aatype == rc.UNKNOWN)),
    }


def _share(level: np.ndarray, wanted: int) -> float | None:
    measured = level >= 0
    return round(float(np.mean(level[measured] == wanted)), 4) if measured.any() else None


def finite(value: float, digits: int) -> float | None:
    """Round a number for a record; None where it is none."""
    return round(float(value), digits) if np.isfinite(value) else None
