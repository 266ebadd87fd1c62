"""Make the statistics of torsions that `foldline quality` compares with (`pipeline/quality/statistics.npz`).

    python -m training.quality_statistics --dump work/structuredb --allatom work/allatom.npz \
        --held-out data/library/held_out.txt --output pipeline/quality/statistics.npz

Ramachandran maps come from the backbones of ProMod3's StructureDB (`pipeline/library/structuredb.py` dumps it),
side-chain densities from experimental all-atom chains (the npz that `training.train --allatom` takes). Chains of the
dump that `--held-out` names are left out; of the all-atom chains all count. The output holds counts, sources, licences
and the sha256 of what was read.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models import residue_constants as rc
from pipeline.library.source import read_held_out
from pipeline.provenance import sha256
from pipeline.quality import ramachandran, rotamers, statistics
from pipeline.quality.geometry import torsion
from pipeline.records import write_npz
from training.chain_sets import AllAtomChains
from training.guard import guarded

RAMACHANDRAN_CELLS, FINE = 90, 2  # cells along an axis of the map that is kept; of the histogram, that many times more
CHI_CELLS = 72
RAMACHANDRAN_WIDTHS = (3.0, 3.5, 4.0, 4.0, 4.0, 8.0)  # degrees, standard deviation of the smoothing of each kind
CHI_WIDTH = 7.0  # degrees
BONDED = 1.6  # angstrom, the longest distance of C and N
QUANTILES = 1001
SOURCES = {
    "ramachandran": {
        "source": "ProMod3 StructureDB, Debian package promod3-data 3.2.1+ds-6",
        "licence": "Apache-2.0; coordinates: wwPDB, CC0-1.0",
    },
    "rotamers": {
        "source": "742 experimental chains with all heavy atoms, gathered from public repositories",
        "licence": "coordinates: wwPDB, CC0-1.0",
    },
}

log = logging.getLogger(__name__)


def ramachandran_maps(dump: Path, held_out: frozenset[str]) -> tuple[dict[str, np.ndarray], list[int]]:
    """Return shares and densities, each (kinds, cells, cells), and how many residues of each kind they come from."""
    cells = RAMACHANDRAN_CELLS * FINE
    counts = np.zeros((len(ramachandran.KINDS), cells, cells))
    allowed = ~np.isin(np.load(dump / "ids.npy"), list(held_out))
    kind, phi, psi = chain_torsions(dump, np.flatnonzero(allowed).tolist())
    at = [np.floor((value + 180) / 360 * cells).astype(int) % cells for value in (phi, psi)]
    np.add.at(counts, (kind, at[0], at[1]), 1)
    counts[3] = (counts[3] + counts[3, ::-1, ::-1]) / 2  # glycine has no hand
    densities = [smoothed(count, width) for count, width in zip(counts, RAMACHANDRAN_WIDTHS, strict=True)]
    shares = np.stack([_shares(count, density) for count, density in zip(counts, densities, strict=True)])
    logarithms = np.stack([_logarithm(_coarse(density)) for density in densities])
    maps = {"ramachandran": shares.astype(np.float16), "ramachandran_density": _one_byte(logarithms)}
    return maps, [round(float(count.sum())) for count in counts]


def chain_torsions(dump: Path, chains: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return kind, phi and psi in degrees of the inner residues of chains of the dump, three arrays (residues,)."""
    arrays = {name: np.load(dump / f"{name}.npy", mmap_mode="r") for name in ("offsets", "sequence", "backbone")}
    parts = []
    for index in chains:
        span = slice(int(arrays["offsets"][index]), int(arrays["offsets"][index + 1]))
        if span.stop - span.start >= 3:
            parts.append(_inner(np.asarray(arrays["backbone"][span], np.float64), np.asarray(arrays["sequence"][span])))
    kind, phi, psi = (np.concatenate(column) for column in zip(*parts, strict=True))
    return kind, phi, psi


def _inner(backbone: np.ndarray, letters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return kind, phi and psi of the inner residues of a chain whose bonds are whole; backbone begins N, CA, C."""
    n, ca, c = (backbone[:, k] for k in range(3))
    phi, psi, bonded = backbone_torsions(n, ca, c)
    omega = torsion(ca[:-2], c[:-2], n[1:-1], ca[1:-1])
    aatype = np.array([rc.RESTYPE_ID.get(chr(letter), rc.UNKNOWN) for letter in letters])
    real = (aatype[1:-1] != rc.UNKNOWN) & bonded[:-1] & bonded[1:]
    kind = ramachandran.kinds(aatype[1:-1], omega, aatype[2:] == rc.RESTYPE_ID["P"])
    return kind[real], phi[1:-1][real], psi[1:-1][real]


def backbone_torsions(n: np.ndarray, ca: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return phi and psi of a chain, and which residues are bonded to the next one.

    Args:
        n: Angstrom, shape (residues, 3); nan where the atom is missing.
        ca: The same.
        c: The same.

    Returns:
        phi and psi (residues,), degrees, nan at ends and breaks; bonded (residues - 1,).
    """
    bonded = np.linalg.norm(n[1:] - c[:-1], axis=1) < BONDED
    link = np.where(bonded, 1.0, np.nan)
    phi = np.concatenate([[np.nan], torsion(c[:-1], n[1:], ca[1:], c[1:]) * link])
    psi = np.concatenate([torsion(n[:-1], ca[:-1], c[:-1], n[1:]) * link, [np.nan]])
    return phi, psi, bonded


def smoothed(histogram: np.ndarray, width: float) -> np.ndarray:
    """Smooth a histogram that is periodic in every direction by a Gaussian, width in degrees."""
    spectrum = np.fft.fftn(histogram)
    for axis, cells in enumerate(histogram.shape):
        wave = 2 * np.pi * np.fft.fftfreq(cells)
        decay = np.exp(-0.5 * (wave * width * cells / 360) ** 2)
        spectrum *= decay.reshape([-1 if k == axis else 1 for k in range(histogram.ndim)])
    return np.maximum(np.fft.ifftn(spectrum).real, 0.0)


def _shares(counts: np.ndarray, density: np.ndarray) -> np.ndarray:
    """Return, for each cell of the coarser map, the share of the counted residues in cells of lower density."""
    order = np.argsort(density, axis=None)
    below = np.empty(counts.size)
    below[order] = np.cumsum(counts.ravel()[order]) / max(counts.sum(), 1)
    return _coarse(below.reshape(counts.shape))


def _coarse(map_: np.ndarray) -> np.ndarray:
    """Return the means of the fine cells in each cell of the map that is kept."""
    cells = map_.shape[0] // FINE
    return map_.reshape(cells, FINE, cells, FINE).mean(axis=(1, 3))


def chi_tables(chains: AllAtomChains) -> tuple[dict[str, np.ndarray], dict[str, int]]:
    """Return the arrays of the side-chain densities, and how many residues of each type they come from."""
    parts = [chains.chain(index) for index in range(len(chains))]
    aatype = np.concatenate([part["aatype"] for part in parts])
    positions = np.concatenate([part["positions"] for part in parts])
    mask = np.concatenate([part["mask"] for part in parts])
    chi = rotamers.chi_angles(aatype, positions, mask)
    arrays: dict[str, np.ndarray] = {}
    counts: dict[str, int] = {}
    for letter in (letter for letter in rc.RESTYPES if rc.CHI_ATOMS[letter]):
        torsions = len(rc.CHI_ATOMS[letter])
        rows = chi[aatype == rc.RESTYPE_ID[letter], :torsions]
        rows = rows[np.isfinite(rows).all(axis=1)]
        arrays |= _tables_of(letter, rows)
        counts[letter] = len(rows)
    return arrays, counts


def _tables_of(letter: str, chi: np.ndarray) -> dict[str, np.ndarray]:
    torsions = chi.shape[1]
    last_turns_half = bool(rc.CHI_PI_PERIODIC[rc.RESTYPE_ID[letter], torsions - 1])
    both = [chi, chi + 180 * (np.arange(torsions) == torsions - 1)] if last_turns_half else [chi]
    sample = np.concatenate(both)  # two names for one conformation
    pairs = [sample[:, k : k + 2] for k in range(torsions - 1)] or [sample]
    tables = tuple(_log_density(pair) for pair in pairs)
    kept = {f"chi_{letter}_{k}": _one_byte(table) for k, table in enumerate(tables)}
    rounded = tuple(kept[name].astype(np.float64) * -statistics.STEP for name in sorted(kept))
    scores = rotamers.log_density(statistics.ChiTables(rounded, np.zeros(0)), chi)
    return {**kept, f"quantiles_{letter}": np.quantile(scores, np.linspace(0, 1, QUANTILES)).astype(np.float32)}


def _log_density(sample: np.ndarray) -> np.ndarray:
    """Return the logarithm of the smoothed density of torsions (n, dimensions)."""
    at = np.floor((sample + 180) / 360 * CHI_CELLS).astype(int) % CHI_CELLS
    histogram = np.zeros((CHI_CELLS,) * sample.shape[1])
    np.add.at(histogram, tuple(at.T), 1)
    return _logarithm(smoothed(histogram, CHI_WIDTH))


def _logarithm(density: np.ndarray) -> np.ndarray:
    """Return the logarithm of a density relative to its peak, cut off where one byte ends."""
    peak = density.max() or 1.0
    return np.log(np.maximum(density / peak, np.exp(-255 * statistics.STEP)))


def _one_byte(logarithms: np.ndarray) -> np.ndarray:
    return np.round(-logarithms / statistics.STEP).astype(np.uint8)


def main(argv: Sequence[str] | None = None) -> int:
    """Read both sources and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dump", type=Path, required=True, help="folder of the StructureDB's dump")
    parser.add_argument("--allatom", type=Path, required=True, help="npz of experimental all-atom chains")
    parser.add_argument("--held-out", type=Path, required=True, help="ids of chains to leave out, one a line")
    parser.add_argument("--output", type=Path, default=statistics.FILE, help="file to write (default: %(default)s)")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    maps, residues = ramachandran_maps(arguments.dump, frozenset(read_held_out(arguments.held_out)))
    chains = AllAtomChains(arguments.allatom)
    tables, counts = chi_tables(chains)
    facts: dict[str, Any] = {
        "ramachandran": {
            **SOURCES["ramachandran"],
            "residues": dict(zip(ramachandran.KINDS, residues, strict=True)),
            "backbone_sha256": sha256(arguments.dump / "backbone.npy"),
        },
        "rotamers": {**SOURCES["rotamers"], "residues": counts, "sha256": sha256(arguments.allatom)},
        "letters": "".join(counts),
    }
    arrays = {**maps, **tables, "facts": np.array(json.dumps(facts))}
    write_npz(arguments.output, arrays, statistics.SCHEMA)
    log.info("%s: %s", arguments.output, facts)
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main))
