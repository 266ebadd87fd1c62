"""Alignments that are drawn, as a search might have found them: rows from a profile, couplings from a structure."""

import numpy as np

from models import residue_constants
from training.chain_sets import Alignment

_GAP = residue_constants.GAP
_CONTACT, _CONTACT_WIDTH = 8.0, 1.0  # angstrom between CB atoms
# Of couplings in contact: spread of their logarithms, what of it neighbouring pairs share, spread of how much each
# residue takes part, the share that does not fade along the chain, and the residues over which the rest does.
_SPREAD, _SHARED, _PART, _LASTING, _FADE = 1.5, 0.35, 0.8, 0.25, (12.0, 150.0)
# Of the noise: standard deviations of most pairs, what of it neighbouring pairs share, heaviness of its tail, spread of
# its size from residue to residue, offsets of whole residues, and how much neighbours along the chain seem to have.
_NOISE, _NOISE_SHARED, _TAIL, _UNEVEN, _OFFSET, _LIFT = 0.7, 0.4, 0.9, 0.3, 0.15, (0.0, 1.0)
_LIFT_FADE = 4.0  # residues
_PARTLY_COVERED = 0.3  # share of alignments in which most rows lack one end of the chain
_CLEAN_TAIL = 0.75  # shape of Weibull's distribution
_CLEAN_NOISE = 5.0  # degrees of freedom: one pair in a thousand of those far apart has 6
_PATCH = 80.0  # residues to a patch of false couplings, on average


def without_duplicates(rows: np.ndarray, deletions: np.ndarray) -> Alignment:
    """Keep the first of the rows that are equal, as featurizing does."""
    first = np.sort(np.unique(rows, axis=0, return_index=True)[1])
    return rows[first], deletions[first]


def draw_rows(profile: np.ndarray, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Draw alignment rows from a profile, positions independent, each row over a random stretch; shape (rows, n)."""
    length = len(profile)
    cumulative = np.cumsum(profile, axis=1)
    drawn = (rng.random((rows, length, 1)) * cumulative[None, :, -1:] > cumulative[None]).sum(-1)
    ends = np.sort(rng.integers(0, length + 1, (rows, 2)), axis=1)
    whole = rng.random(rows) < 0.5  # half of the rows cover the whole chain
    position = np.arange(length)
    covered = whole[:, None] | ((position >= ends[:, :1]) & (position < ends[:, 1:]))
    return np.where(covered, np.minimum(drawn, 19), _GAP).astype(np.int8)


def draw_couplings(beta: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Draw what `models.coevolution` would find in a deep alignment of a chain, which the set does not have.

    As in real ones, couplings in contact are few and strong or weak and many, fade along the chain, and are blurred;
    some residues and stretches have none; neighbouring pairs share their noise; some patches are false. How much of
    each was chosen beside the statistics of 29 chains of the set with their alignments from Pfam families, of 140 to
    1,330 effective rows, which have a strength of about 3.

    Args:
        beta: CB, or CA of glycine, shape (n, 3), angstrom.
        strength: Scale of the couplings in contact, standard deviations of their noise.
        rng: Source of all choices.

    Returns:
        Symmetric, shape (n, n), float32, the diagonal 0.
    """
    n = len(beta)
    distance = np.linalg.norm(beta[:, None] - beta[None], axis=-1)
    contact = 1 / (1 + np.exp(np.minimum(distance - _CONTACT, 50) / _CONTACT_WIDTH))
    apart = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    part = _PART * _along(n, rng)
    share = np.exp(part) * _coverage(n, rng)
    coupled = strength * np.exp(_SPREAD * _pairs(n, _SHARED, rng) - _SPREAD**2 / 3)
    lasting = _LASTING + (1 - _LASTING) * np.exp(-apart / np.exp(rng.uniform(*np.log(_FADE))))
    signal = coupled * lasting * np.sqrt(np.outer(share, share)) * (contact + _patches(n, rng))
    signal = 0.7 * signal + 0.45 * _blurred(signal)
    size = np.exp(_UNEVEN * (0.5 * part / _PART + 0.87 * _along(n, rng)))
    tailed = np.sinh(_TAIL * _pairs(n, _NOISE_SHARED, rng)) / np.sinh(_TAIL)
    noise = _NOISE * tailed * np.sqrt(np.outer(size, size))
    offset = _OFFSET * _along(n, rng)
    lift = rng.uniform(*_LIFT) * np.exp((3 - apart) / _LIFT_FADE)
    found = (signal + noise + np.add.outer(offset, offset) + lift).astype(np.float32)
    np.fill_diagonal(found, 0)
    return found


def draw_clean_couplings(beta: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Draw couplings better than real ones: every contact has one, and every pair noise of its own.

    Arguments and shape are those of `draw_couplings`. Contacts have strengths of Weibull's distribution, all pairs the
    noise of Student's.
    """
    distance = np.linalg.norm(beta[:, None] - beta[None], axis=-1)
    contact = 1 / (1 + np.exp(np.minimum(distance - _CONTACT, 50) / _CONTACT_WIDTH))
    drawn = strength * rng.weibull(_CLEAN_TAIL, distance.shape) * contact
    drawn += rng.standard_t(_CLEAN_NOISE, distance.shape)
    upper = np.triu(drawn, 1).astype(np.float32)
    return upper + upper.T


def _blurred(x: np.ndarray, times: int = 1) -> np.ndarray:
    """Return means over neighbours along all axes, the middle twice as heavy."""
    for axis in list(range(x.ndim)) * times:
        x = np.moveaxis(x, axis, 0)
        padded = np.concatenate([x[:1], x, x[-1:]])
        x = np.moveaxis(0.25 * padded[:-2] + 0.5 * x + 0.25 * padded[2:], 0, axis)
    return x


def _standard(x: np.ndarray) -> np.ndarray:
    return (x - x.mean()) / max(x.std(), 1e-6)


def _along(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return normal numbers, one to a residue, of which neighbours share a third."""
    own, shared = rng.standard_normal((2, n))
    return _standard(0.8 * own + 0.6 * _standard(_blurred(shared, 2)))


def _pairs(n: int, shared: float, rng: np.random.Generator) -> np.ndarray:
    """Return normal numbers, one to a pair of residues, symmetric, of which neighbouring pairs share a part."""
    own, common = (x + x.T for x in np.triu(rng.standard_normal((2, n, n)), 1))
    return np.sqrt(1 - shared) * _standard(own) + np.sqrt(shared) * _standard(_blurred(common, 3))


def _coverage(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return how much of the couplings each residue keeps: where most rows lack an end of the chain, few or none."""
    covered = np.ones(n)
    if rng.random() < _PARTLY_COVERED:
        covered[: rng.integers(0, n // 2 + 1)] = rng.uniform(0, 0.6)
    return covered[:: rng.choice((-1, 1))]


def _patches(n: int, rng: np.random.Generator) -> np.ndarray:
    """Return a few small patches anywhere: contacts of other copies or other forms of the protein, or none at all."""
    patches, place = np.zeros((n, n)), np.arange(n)
    for _ in range(rng.poisson(n / _PATCH)):
        i, j = rng.integers(0, n, 2)
        near = np.exp(-0.5 * np.add.outer(np.square(place - i), np.square(place - j)))
        patches += rng.uniform(0.3, 1.0) * np.maximum(near, near.T)
    return patches
