"""The shape of the chain: torsions, hands, breaks, peptide bonds, and CA atoms in each other's place."""

import dataclasses

import numpy as np

from models import residue_constants as rc
from pipeline.protein import BROKEN_BOND, Protein
from pipeline.quality.geometry import length, pairs_within, torsion

CA_CLASH = 3.5  # angstrom between CA atoms two or more residues apart; CASP's assessors count closer ones as bumps
CIS_OMEGA = 30.0  # degrees; a peptide bond further than this from both 0 and 180 is twisted

_N, _CA, _C, _CB = (rc.ATOM37_ID[name] for name in ("N", "CA", "C", "CB"))


def joined(protein: Protein) -> np.ndarray:
    """Return which residues are bonded to the next one by the numbering, shape (n - 1,)."""
    same_chain = protein.chain_id[1:] == protein.chain_id[:-1]
    return same_chain & (np.diff(protein.residue_index) == 1)


def gaps(protein: Protein) -> np.ndarray:
    """Return the distance from C to the next residue's N in angstrom, shape (n - 1,).

    Where one of the two is missing, it is the distance of the CA atoms less what a trans peptide has beside that bond;
    nan where a CA is missing too.
    """
    x = np.where(protein.atom37_mask[..., None], protein.atom37_positions, np.nan).astype(np.float64)
    peptide, trace = length(x[1:, _N] - x[:-1, _C]), length(x[1:, _CA] - x[:-1, _CA])
    return np.where(np.isnan(peptide), trace - (rc.CA_CA_TRANS - rc.PEPTIDE_BOND[0]), peptide)


@dataclasses.dataclass(frozen=True, eq=False)
class Backbone:
    """The shape of the chain; angles in degrees, nan where atoms are missing or the chain ends.

    Args:
        phi: C-N-CA-C, shape (n,).
        psi: N-CA-C-N, shape (n,).
        omega: CA-C-N-CA of the peptide bond before the residue, shape (n,).
        bonded: Residues with a peptide bond to the next: by the numbering, unless `gaps` are wide, shape (n - 1,).
        d_residue: Residues of the wrong chirality, shape (n,).
        breaks: Residues after which the chain is broken, in the numbering or in space, shape (breaks,).
        ca_clashes: Pairs of residues whose CA atoms are too near, shape (pairs, 2).
    """

    phi: np.ndarray
    psi: np.ndarray
    omega: np.ndarray
    bonded: np.ndarray
    d_residue: np.ndarray
    breaks: np.ndarray
    ca_clashes: np.ndarray


def backbone(protein: Protein) -> Backbone:
    """Measure torsions, hands, breaks and CA clashes."""
    x = np.where(protein.atom37_mask[..., None], protein.atom37_positions, np.nan)
    n, ca, c, cb = (x[:, atom] for atom in (_N, _CA, _C, _CB))
    bonded = joined(protein) & ~(gaps(protein) > BROKEN_BOND)  # where nothing is known, the numbering decides
    link = np.where(bonded, 1.0, np.nan)
    nothing = np.array([np.nan])
    volume = np.einsum("ij,ij->i", np.cross(n - ca, c - ca), cb - ca)
    same_chain = protein.chain_id[1:] == protein.chain_id[:-1]
    return Backbone(
        phi=np.concatenate([nothing, torsion(c[:-1], n[1:], ca[1:], c[1:]) * link]),
        psi=np.concatenate([torsion(n[:-1], ca[:-1], c[:-1], n[1:]) * link, nothing]),
        omega=np.concatenate([nothing, torsion(ca[:-1], c[:-1], n[1:], ca[1:]) * link]),
        d_residue=volume < 0,
        bonded=bonded,
        breaks=np.flatnonzero(same_chain & ~bonded),
        ca_clashes=_ca_clashes(protein, ca),
    )


def _ca_clashes(protein: Protein, ca: np.ndarray) -> np.ndarray:
    i, j = pairs_within(ca, CA_CLASH)
    apart = (j > i + 1) | (protein.chain_id[i] != protein.chain_id[j])
    pairs = np.stack([i, j], axis=1)[apart]
    return pairs[np.lexsort(pairs.T[::-1])]


def radius_of_gyration(protein: Protein) -> float:
    """Return the root mean square distance of the heavy atoms from their centre in angstrom, each weighing the same."""
    x = protein.atom37_positions[protein.atom37_mask].astype(np.float64)
    x = x[np.isfinite(x).all(axis=1)]
    return float(np.sqrt(np.mean(np.sum((x - x.mean(axis=0)) ** 2, axis=1)))) if len(x) else float("nan")
