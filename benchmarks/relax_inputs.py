"""Inputs that break relaxations: what the benchmark counts failures of, and what the tests expect a status of."""

import dataclasses

import numpy as np

from models import residue_constants as rc
from pipeline.protein import Protein

_CA, _C, _SG = (rc.ATOM37_ID[name] for name in ("CA", "C", "SG"))
_TYROSINE_RING = [rc.ATOM37_ID[name] for name in ("CG", "CD1", "CE1", "CZ", "CE2", "CD2")]


def noisy(protein: Protein, width: float, seed: int = 1) -> Protein:
    """Return the protein with normal noise on every coordinate, width in angstrom."""
    noise = np.random.default_rng(seed).normal(scale=width, size=protein.atom37_positions.shape)
    return moved(protein, protein.atom37_positions + noise)


def moved(protein: Protein, positions: np.ndarray) -> Protein:
    """Return the protein at other positions, angstrom, shape (n, 37, 3)."""
    return dataclasses.replace(protein, atom37_positions=positions.astype(np.float32))


def masked(protein: Protein, mask: np.ndarray) -> Protein:
    """Return the protein with the atoms of a mask, shape (n, 37)."""
    return dataclasses.replace(protein, atom37_mask=mask)


def rows_of(protein: Protein, rows: np.ndarray) -> Protein:
    """Return some residues of a protein, with their numbers."""
    return Protein(
        aatype=protein.aatype[rows],
        atom37_positions=protein.atom37_positions[rows],
        atom37_mask=protein.atom37_mask[rows],
        residue_index=protein.residue_index[rows],
        chain_id=protein.chain_id[rows],
        author_number=tuple(protein.author_number[i] for i in rows),
        b_factor=protein.b_factor[rows],
    )


def joined(*proteins: Protein) -> Protein:
    """Return the chains of several proteins, named A, B, C ... in order."""
    return Protein(
        aatype=np.concatenate([p.aatype for p in proteins]),
        atom37_positions=np.concatenate([p.atom37_positions for p in proteins]),
        atom37_mask=np.concatenate([p.atom37_mask for p in proteins]),
        residue_index=np.concatenate([p.residue_index for p in proteins]),
        chain_id=np.concatenate(
            [np.full(len(p), f"{'ABCDEFGHIJ'[k % 10]}{k // 10 or ''}") for k, p in enumerate(proteins)]
        ),
        author_number=tuple(number for p in proteins for number in p.author_number),
        b_factor=np.concatenate([p.b_factor for p in proteins]),
    )


def with_atom(protein: Protein, residue: int, atom: str, place: np.ndarray | float) -> Protein:
    """Return the protein with one atom elsewhere, angstrom."""
    positions = protein.atom37_positions.copy()
    positions[residue, rc.ATOM37_ID[atom]] = place
    return moved(protein, positions)


def nasty(cage: Protein, bpti: Protein) -> dict[str, Protein]:
    """Return the set by name, made from Trp-cage (the third residue a tyrosine) and BPTI (three disulfide bonds)."""
    return {
        "a residue with no atoms": masked(cage, cage.atom37_mask & (np.arange(20) != 9)[:, None]),
        "two chains in the same place": joined(cage, cage),
        "an atom 0.01 A from another": with_atom(cage, 3, "CD1", cage.atom37_positions[15, rc.ATOM37_ID["CB"]] + 0.006),
        "a coordinate that is nan": with_atom(cage, 2, "CA", np.nan),
        "a coordinate that is infinite": with_atom(cage, 2, "CA", np.inf),
        "a residue that is nowhere": moved(
            cage, np.where((np.arange(20) == 9)[:, None, None], np.nan, cage.atom37_positions)
        ),
        "an atom at 9999 A": with_atom(cage, 6, "CG", 9999.0),
        "a chain through the ring of another": threaded(cage),
        "all residues D": moved(cage, cage.atom37_positions * np.array([1, 1, -1])),
        "one residue": rows_of(cage, np.array([4])),
        "two residues": rows_of(cage, np.array([4, 5])),
        "CA atoms alone": masked(cage, cage.atom37_mask & (np.arange(37) == _CA)),
        "an unknown residue in the middle": dataclasses.replace(
            cage, aatype=np.where(np.arange(20) == 8, rc.UNKNOWN, cage.aatype)
        ),
        "two cysteines at 2.1 A": sulphurs(bpti, 2.1),
        "three cysteines within 2.5 A": third_sulphur(bpti),
        "coordinates of 1e6": moved(cage, cage.atom37_positions + 1e6),
        "a gap in the chain": rows_of(cage, np.r_[0:7, 11:20]),
        "all atoms in one place": moved(cage, cage.atom37_positions * 0),
    }


def threaded(cage: Protein) -> Protein:
    """Return two chains, a peptide bond of the second of which runs through the tyrosine's ring of the first."""
    ring = cage.atom37_positions[2, _TYROSINE_RING].astype(np.float64)
    centre = ring.mean(axis=0)
    normal = np.linalg.svd(ring - centre)[2][2]
    thread = rows_of(cage, np.arange(13, 20))
    bond = thread.atom37_positions[3, _CA] - thread.atom37_positions[3, _C]
    middle = thread.atom37_positions[3, [_CA, _C]].mean(axis=0)
    turned = (thread.atom37_positions - middle) @ _turn(bond / np.linalg.norm(bond), normal).T + centre
    return joined(cage, moved(thread, turned))


def _turn(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the rotation that takes one unit vector to another, shape (3, 3)."""
    axis = np.cross(first, second)
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + cross + cross @ cross / (1 + first @ second)


def sulphurs(bpti: Protein, distance: float) -> Protein:
    """Return BPTI with the sulphurs of its first disulfide bond (residues 5 and 55) at a distance in angstrom."""
    first, second = bpti.atom37_positions[4, _SG], bpti.atom37_positions[54, _SG]
    step = (second - first) / np.linalg.norm(second - first)
    return with_atom(bpti, 54, "SG", first + distance * step)


def third_sulphur(bpti: Protein) -> Protein:
    """Return BPTI with a third sulphur, of residue 30, 2.3 angstrom from both of the first bond."""
    first, second = bpti.atom37_positions[4, _SG], bpti.atom37_positions[54, _SG]
    middle, axis = (first + second) / 2, (second - first) / np.linalg.norm(second - first)
    side = np.cross(axis, [0.6, 0.0, 0.8])
    half = np.linalg.norm(second - first) / 2
    place = middle + np.sqrt(2.3**2 - half**2) * side / np.linalg.norm(side)
    return with_atom(bpti, 29, "SG", place)


def large(cage: Protein, copies: int = 100, apart: float = 30.0) -> Protein:
    """Return copies of Trp-cage (20 residues) on a grid; in one of five a pair of atoms overlaps."""
    side = int(np.ceil(copies ** (1 / 3)))
    chains = []
    for k in range(copies):
        shift = apart * np.array([k % side, k // side % side, k // side**2])
        chain = with_atom(cage, 3, "CD1", cage.atom37_positions[15, _CA] + 0.8) if k % 5 == 0 else cage
        chains.append(moved(chain, chain.atom37_positions + shift))
    return joined(*chains)
