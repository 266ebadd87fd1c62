"""Make what missing atoms are built from (`pipeline/side_chains/statistics.npz`): rotamers, and peptide planes.

    python -m training.side_chain_statistics --allatom work/allatom.npz

The npz is that of `training.train --allatom`: experimental chains with all heavy atoms. The output holds source,
licence, counts and the sha256 of what was read.
"""

import argparse
import itertools
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models import residue_constants as rc
from pipeline import quality
from pipeline.provenance import sha256
from pipeline.records import write_npz
from pipeline.relax import trace
from pipeline.side_chains import rotamers
from training.chain_sets import AllAtomChains
from training.guard import guarded
from training.quality_statistics import backbone_torsions

WIDTH = 15.0  # degrees, standard deviation of the smoothing over phi and psi
PRIOR = 12.0  # residues that the probabilities without regard to the backbone count as
FEWEST = 8  # residues that make a rotamer
SOURCE = {
    "source": "742 experimental chains with all heavy atoms, gathered from public repositories",
    "licence": "coordinates: wwPDB, CC0-1.0",
}
# Torsions that end at an sp2 atom have no three wells; they are cut into six.
_FLAT_ENDS = "NDEQHWFY"
_N, _CA, _C, _O = (rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O"))
_DIHEDRAL = 2  # axis of the peptides' table; the two before it are angles

log = logging.getLogger(__name__)


def wells(letter: str, chi: np.ndarray) -> np.ndarray:
    """Return the well of each torsion, shape (n, torsions).

    Args:
        letter: Residue type.
        chi: Degrees, shape (n, torsions); the last between -90 and 90 where half a turn changes only names.
    """
    found = np.floor(np.mod(chi, 360) / 120).astype(int)
    if letter == "P":
        return (chi > 0).astype(int)
    if letter in _FLAT_ENDS:
        period = 180 if _turns_half(letter) else 360
        found[:, -1] = np.floor(np.mod(chi[:, -1] + period / 12, period) / period * 6).astype(int)
    return found


def _turns_half(letter: str) -> bool:
    return bool(rc.CHI_PI_PERIODIC[rc.RESTYPE_ID[letter], len(rc.CHI_ATOMS[letter]) - 1])


def rotamers_of(letter: str, chi: np.ndarray, phi: np.ndarray, psi: np.ndarray) -> dict[str, np.ndarray]:
    """Return the arrays of one residue type from the torsions of its residues, degrees, (n, torsions) and (n,)."""
    well = wells(letter, chi)
    kinds, member, counts = np.unique(well, axis=0, return_inverse=True, return_counts=True)
    member = member.ravel()
    kept = np.flatnonzero(counts >= FEWEST)
    means, spreads, tables = [], [], []
    for kind in kept:
        rows = member == kind
        mean, spread = _circular(chi[rows], _periods(letter))
        means.append(mean)
        spreads.append(spread)
        tables.append(_smoothed(phi[rows], psi[rows]))
    density = np.stack(tables, axis=-1)
    shares = counts[kept] / counts[kept].sum()
    probability = (density + PRIOR * shares) / (density.sum(axis=-1, keepdims=True) + PRIOR)
    logarithm = np.round(-np.log(probability) / rotamers.STEP)
    log.info("%s: %d residues, %d rotamers of %d", letter, len(chi), len(kept), len(kinds))
    return {
        f"chi_{letter}": np.array(means, np.float16),
        f"spread_{letter}": np.array(spreads, np.float16),
        f"probability_{letter}": np.clip(logarithm, 0, 255).astype(np.uint8),
    }


def _periods(letter: str) -> np.ndarray:
    periods = np.full(len(rc.CHI_ATOMS[letter]), 360.0)
    periods[-1] = 180.0 if _turns_half(letter) else 360.0
    return periods


def _circular(chi: np.ndarray, period: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of angles in degrees along the first axis, each column with its period."""
    mean = np.angle(np.exp(2j * np.pi * chi / period).mean(axis=0)) / (2 * np.pi) * period
    offset = np.mod(chi - mean + period / 2, period) - period / 2
    return mean, np.sqrt((offset**2).mean(axis=0))


def _smoothed(phi: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """Return how many residues are near each backbone, shape (CELLS, CELLS)."""
    centres = -180 + (np.arange(rotamers.CELLS) + 0.5) * 360 / rotamers.CELLS
    near_phi, near_psi = (
        np.exp(-0.5 * ((np.mod(angle[:, None] - centres + 180, 360) - 180) / WIDTH) ** 2) for angle in (phi, psi)
    )
    return np.asarray(near_phi.T @ near_psi)


def peptides(quads: np.ndarray, planes: np.ndarray) -> np.ndarray:
    """Return the mean place of C, O and the next N by the four CA around them, shape (7, 7, 36, 3, 3).

    Args:
        quads: CA, angstrom, shape (n, 4, 3).
        planes: C, O and N between the second and the third, angstrom, shape (n, 3, 3).
    """
    rotation, origin = trace.frames(quads)
    local = np.einsum("nji,naj->nai", rotation, planes - origin[:, None])
    shape = (len(trace.ANGLES) - 1, len(trace.ANGLES) - 1, trace.TURNS)
    total, count = np.zeros((*shape, 3, 3)), np.zeros(shape)
    at = trace.cells(quads)
    np.add.at(total, at, local)
    np.add.at(count, at, 1)
    return _filled(total, count)


def _filled(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return means; a cell with few members borrows from the cells around it."""
    spread_total, spread_count = total + 0.0, count + 0.0
    for _ in range(12):
        for axis, shift in itertools.product(range(3), (-1, 1)):
            spread_total += 0.05 * _moved(spread_total, shift, axis)
            spread_count += 0.05 * _moved(spread_count, shift, axis)
    thin = (count < 5)[..., None, None]
    borrowed = spread_total / np.maximum(spread_count, 1e-9)[..., None, None]
    return np.where(thin, borrowed, total / np.maximum(count, 1)[..., None, None])


def _moved(table: np.ndarray, shift: int, axis: int) -> np.ndarray:
    """Return a table moved by one cell; of its axes only the dihedral goes around."""
    moved = np.roll(table, shift, axis)
    if axis != _DIHEDRAL:
        np.moveaxis(moved, axis, 0)[min(shift, 0)] = 0  # what came in from the other end
    return moved


def gather(chains: AllAtomChains) -> tuple[dict[str, list[np.ndarray]], np.ndarray, np.ndarray]:
    """Return by residue type the rows of chi, phi and psi; and the quads and planes of the peptides."""
    rows: dict[str, list[np.ndarray]] = {letter: [] for letter in rc.RESTYPES if rc.CHI_ATOMS[letter]}
    quads, planes = [], []
    for index in range(len(chains)):
        chain = chains.chain(index)
        x = np.where(chain["mask"][..., None], chain["positions"], np.nan).astype(np.float64)
        phi, psi, bonded = backbone_torsions(x[:, _N], x[:, _CA], x[:, _C])
        for letter, found in rows.items():
            chosen = chain["aatype"] == rc.RESTYPE_ID[letter]
            found.append(np.column_stack([_chi(letter, x[chosen]), phi[chosen], psi[chosen]]))
        inner = np.flatnonzero(bonded[:-2] & bonded[1:-1] & bonded[2:]) + 1
        quads.append(np.stack([x[inner + k, _CA] for k in (-1, 0, 1, 2)], axis=1))
        planes.append(np.stack([x[inner, _C], x[inner, _O], x[inner + 1, _N]], axis=1))
    return rows, np.concatenate(quads), np.concatenate(planes)


def _chi(letter: str, x: np.ndarray) -> np.ndarray:
    """Return the torsions of residues of one type, degrees, shape (n, torsions)."""
    atoms = [[rc.ATOM37_ID[name] for name in names] for names in rc.CHI_ATOMS[letter]]
    chi = np.column_stack([quality.torsion(*(x[:, atom] for atom in quad)) for quad in atoms])
    if _turns_half(letter):
        chi[:, -1] = np.mod(chi[:, -1] + 90, 180) - 90
    return chi


def main(argv: Sequence[str] | None = None) -> int:
    """Read the chains and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--allatom", type=Path, required=True, help="npz of experimental all-atom chains")
    parser.add_argument("--output", type=Path, default=rotamers.FILE, help="file to write (default: %(default)s)")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    rows, quads, planes = gather(AllAtomChains(arguments.allatom))
    arrays: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for letter, parts in rows.items():
        table = np.concatenate(parts)
        table = table[np.isfinite(table).all(axis=1)]
        arrays |= rotamers_of(letter, table[:, :-2], table[:, -2], table[:, -1])
        counts[letter] = len(table)
    whole = np.isfinite(planes).all(axis=(1, 2)) & np.isfinite(quads).all(axis=(1, 2))
    arrays["peptides"] = peptides(quads[whole], planes[whole]).astype(np.float16)
    facts = {**SOURCE, "sha256": sha256(arguments.allatom), "rotamers": counts, "peptides": int(whole.sum())}
    write_npz(arguments.output, {**arrays, "facts": np.array(json.dumps(facts))}, rotamers.SCHEMA)
    log.info("%s: %s", arguments.output, facts)
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main))
