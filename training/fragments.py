"""Would fragments of like profile pay as an input? What they tell of phi and psi, beside what the network expects.

    python -m training.fragments --data work --exclude LIST --omit LIST --weights data/weights/mini.npz

For each window of a development chain the windows of training chains with the nearest profile vote for the torsions of
its middle. The network sees the same profile, as rows drawn from it, and no template. The table has, for each and for
the mean of both, the share of residues whose phi and psi are right to 40 degrees and the cross entropy of a torsion.
"""

import argparse
import dataclasses
import functools
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import haiku as hk
import jax
import numpy as np

from models import alphafold, params
from models.heads import SURPRISE
from training import alignments, chain_sets, dataset, scores, sources
from training.guard import guarded
from training.quality_statistics import backbone_torsions

WIDTH = 9  # residues of a window
_ROWS = 256  # drawn from the profile for the network
_AT_ONCE = 50_000  # windows


@dataclasses.dataclass(frozen=True)
class Fragments:
    """Windows of training chains.

    Args:
        windows: Roots of the frequencies in a window, shape (m, WIDTH * 20); a product is how alike two are.
        torsions: Phi and psi of the residue in the middle, radian, shape (m, 2).
    """

    windows: np.ndarray
    torsions: np.ndarray


def vectors(profile: np.ndarray) -> np.ndarray:
    """Return what stands for each whole window of a profile (n, 20), shape (n - WIDTH + 1, WIDTH * 20)."""
    share = profile / np.maximum(profile.sum(axis=1, keepdims=True), 1e-6)
    found = np.lib.stride_tricks.sliding_window_view(np.sqrt(share), WIDTH, axis=0)
    return np.ascontiguousarray(found.reshape(len(found), -1), np.float32)


def torsions(backbone: np.ndarray) -> np.ndarray:
    """Return phi and psi of each residue, radian, NaN where one is not defined, shape (n, 2).

    Args:
        backbone: N, CA and C, angstrom, shape (n, 3, 3).
    """
    phi, psi, _ = backbone_torsions(*(backbone[:, k].astype(np.float64) for k in range(3)))
    return np.radians(np.stack([phi, psi], axis=1))


def collect(database: chain_sets.StructureDB, chains: np.ndarray, count: int) -> Fragments:
    """Return at least `count` windows of chains in random order, where there are as many."""
    middle, total = WIDTH // 2, 0
    known, kept = list[np.ndarray](), list[np.ndarray]()
    for index in np.random.default_rng(0).permutation(chains):
        angles = torsions(database.atom37(int(index))[0][:, :3])[middle:-middle]
        whole = np.isfinite(angles).all(axis=1)
        kept.append(vectors(database.profile(int(index)))[whole])
        known.append(angles[whole])
        total += len(known[-1])
        if total >= count:
            break
    return Fragments(np.concatenate(kept), np.concatenate(known))


def nearest(fragments: Fragments, wanted: np.ndarray, number: int) -> np.ndarray:
    """Return the windows that are most alike, in no order, shape (windows, number)."""
    best: np.ndarray = np.zeros((len(wanted), 0), np.float32)
    found: np.ndarray = np.zeros((len(wanted), 0), np.int64)
    for start in range(0, len(fragments.windows), _AT_ONCE):
        alike = wanted @ fragments.windows[start : start + _AT_ONCE].T
        top = np.argpartition(-alike, min(number, alike.shape[1]) - 1, axis=1)[:, :number]
        best = np.concatenate([best, np.take_along_axis(alike, top, axis=1)], axis=1)
        found = np.concatenate([found, start + top], axis=1)
        kept = np.argsort(-best, axis=1)[:, :number]
        best, found = (np.take_along_axis(x, kept, axis=1) for x in (best, found))
    return found


def votes(angles: np.ndarray, bins: int) -> np.ndarray:
    """Return the shares of bins round the circle that angles (k, number, 2) vote for, shape (k, 2, bins)."""
    width = 2 * np.pi / bins
    near = np.exp((np.cos(angles[..., None] - scores.torsion_centres(bins)) - 1) / width**2)
    return (near / near.sum(axis=-1, keepdims=True)).mean(axis=1)


def judged(shares: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each residue whether the likeliest phi and psi are both right, and the mean cross entropy.

    A share of what is likely is given to all bins, so that nothing is impossible.
    """
    bins = shares.shape[-1]
    shares = (1 - SURPRISE) * shares + SURPRISE / bins
    right = np.asarray(scores.right_torsions(shares, truth))
    target = np.floor((truth / (2 * np.pi) + 0.5) * bins).astype(int) % bins
    return right, -np.log(np.take_along_axis(shares, target[..., None], axis=-1)[..., 0]).mean(axis=-1)


def expectation(source: dataset.ExampleSource, weights: hk.Params) -> Callable[[dataset.Arrays], np.ndarray]:
    """Return what gives the network's shares of phi and psi for an example, shape (n, 2, bins)."""

    def run(batch: Mapping[str, jax.Array]) -> jax.Array:
        return alphafold.predict(source.config, batch, source.config.recycles)["torsions"]["logits"]

    apply = jax.jit(hk.transform(run).apply)

    def expect(example: dataset.Arrays) -> np.ndarray:
        inputs = {name: x for name, x in example.items() if name not in dataset.LABELS}
        repeated = {name: np.repeat(x[None], source.config.recycles + 1, axis=0) for name, x in inputs.items()}
        return np.asarray(jax.nn.softmax(apply(weights, None, repeated)))

    return expect


def compare(
    source: dataset.ExampleSource,
    chains: np.ndarray,
    expect: Callable[[dataset.Arrays], np.ndarray],
    vote: Callable[[np.ndarray], np.ndarray],
) -> dict[str, tuple[float, float]]:
    """Return the share that is right and the cross entropy of each way, over the residues of all chains.

    Args:
        source: Of the examples, which are shown without couplings: rows from a profile have none.
        chains: Where in the set.
        expect: From an example to the network's shares.
        vote: From vectors of windows to the fragments' shares.
    """
    middle, database, found = WIDTH // 2, source.database, dict[str, list[tuple[np.ndarray, np.ndarray]]]()
    for index in chains:
        n, rng = int(database.lengths[index]), np.random.default_rng(0)
        drawn = alignments.draw_rows(database.profile(index), _ROWS, rng)
        rows = np.concatenate([database.hit_msa(index, [])[0], drawn])
        example = source.example(index, rng, scores.LARGEST, [], (rows, np.zeros(rows.shape, np.int16)))
        truth = torsions(database.atom37(index)[0][:, :3])[middle : n - middle]
        known = np.isfinite(truth).all(axis=1)
        network = expect(scores.without_couplings(example))[middle : n - middle]
        fragments = vote(vectors(database.profile(index)))
        for name, shares in (("network", network), ("fragments", fragments), ("mean", (network + fragments) / 2)):
            found.setdefault(name, []).append(judged(shares[known], truth[known]))
    means = {
        name: [np.concatenate(column).mean() for column in zip(*parts, strict=True)] for name, parts in found.items()
    }
    return {name: (float(right), float(entropy)) for name, (right, entropy) in means.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m training.fragments", description=__doc__)
    sources.add_data_flags(parser)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=500_000, help="of training chains, at least")
    parser.add_argument("--nearest", type=int, default=50, help="windows that vote")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO)
    source, held = sources.open_source(arguments)
    fragments = collect(source.database, source.training, arguments.windows)
    expect = expectation(source, params.load(arguments.weights, source.config))
    vote = functools.partial(_voted, fragments, arguments.nearest, source.config.heads.torsion_bins)
    sys.stdout.write("way\tphi and psi right\tcross entropy\n")
    for name, (right, entropy) in compare(source, held.development, expect, vote).items():
        sys.stdout.write(f"{name}\t{right:.3f}\t{entropy:.3f}\n")
    return 0


def _voted(fragments: Fragments, number: int, bins: int, wanted: np.ndarray) -> np.ndarray:
    return votes(fragments.torsions[nearest(fragments, wanted, number)], bins)


if __name__ == "__main__":
    raise SystemExit(guarded(main))
