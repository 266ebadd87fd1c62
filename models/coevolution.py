"""Which columns of an alignment change together: inverse covariance of its letters, in NumPy.

Columns that are in contact in the structure keep each other's mutations. What two columns have in common only through
others falls out of the inverse of the covariance matrix; what they have in common with all, of phylogeny and entropy,
by the average product correction.

Sources: inverse covariance with shrinkage, Yang et al. 2020, PNAS 117, 1496 (supplement); weights of sequences, Morcos
et al. 2011, PNAS 108, E1293; average product correction, Dunn et al. 2008, Bioinformatics 24, 333.
"""

import numpy as np
from numpy.typing import NDArray

_LETTERS = 20
_CODES = np.eye(_LETTERS + 2, _LETTERS, dtype=np.float32)  # zero rows for X and the gap
_SAME = 0.8  # identity from which two rows share their weight
_SHRINKAGE = 4.5  # of the covariance, over the root of the effective number of rows
_FEWEST = 64.0  # effective rows with a letter in a column below which nothing is said of it
_MOST_ROWS = 2048  # chosen evenly, the target among them
_LONGEST = 512  # residues beyond which it would take too long
_COLUMNS_AT_ONCE = 16
_APART = 6  # residues along the chain from which a pair counts as background
_NORMAL = 1.4826  # standard deviations of a normal distribution in a median absolute deviation


def couplings(msa: NDArray) -> NDArray:
    """Return how much each pair of columns changes together, in standard deviations of the pairs far apart in sequence.

    Args:
        msa: AlphaFold's ids (20 for X, 21 for a gap), the target first, shape (rows, n).

    Returns:
        Symmetric, shape (n, n), float32, the diagonal 0; 0 for columns that are too shallow to tell, and all 0 for a
        chain that is too short or too long.
    """
    n = msa.shape[1]
    found = np.zeros((n, n), np.float32)
    letters = msa[np.linspace(0, len(msa) - 1, min(len(msa), _MOST_ROWS)).astype(int)]
    if len(letters) >= _FEWEST and _APART + 1 < n <= _LONGEST:
        weights = row_weights(letters)
        told = np.flatnonzero(weights @ (letters < _LETTERS) >= _FEWEST)
        if len(told) > _APART + 1:
            found[np.ix_(told, told)] = standardised(corrected(strengths(letters[:, told], weights)))
    return found


def row_weights(letters: NDArray) -> NDArray:
    """Return one over the number of rows that are alike, itself among them, shape (rows,).

    Alike are two that agree in four of five of the columns in which either has a letter, as `foldline search` counts.
    """
    coded = np.eye(_LETTERS + 2, _LETTERS + 1, dtype=np.float32)[letters].reshape(len(letters), -1)
    there = coded.reshape(*letters.shape, -1).sum(axis=-1)
    length = there.sum(axis=1)
    either = length[:, None] + length - there @ there.T
    return 1.0 / (coded @ coded.T >= _SAME * either).sum(axis=1)


def strengths(letters: NDArray, weights: NDArray) -> NDArray:
    """Return the Frobenius norm of each pair's block of the inverse covariance, up to a factor, shape (n, n).

    A gap counts as the mean of its column: neighbours that are missing together would else seem coupled. There are
    fewer rows than letters in columns, so the matrix that is inverted is that of the rows (Woodbury):
    (X'X + s)^-1 = (1 - X'(XX' + s)^-1 X) / s, of which the 1 is in no block of two columns.
    """
    rows, n = letters.shape
    total, there = weights.sum(), letters < _LETTERS
    coded = _CODES[letters]
    share = (weights[:, None] * there / np.maximum(weights @ there, 1e-9)).astype(np.float32)
    coded = (coded - np.einsum("rn,rna->na", share, coded)) * there[..., None]
    coded = coded.reshape(rows, -1) * np.sqrt(weights / total)[:, None].astype(np.float32)
    between = coded @ coded.T
    between[np.diag_indices(rows)] += _SHRINKAGE / np.sqrt(total)
    turned = np.linalg.inv(between) @ coded
    found = np.empty((n, n), np.float32)
    for start in range(0, n, _COLUMNS_AT_ONCE):
        block = coded[:, start * _LETTERS : (start + _COLUMNS_AT_ONCE) * _LETTERS].T @ turned
        found[start : start + _COLUMNS_AT_ONCE] = np.square(block).reshape(-1, _LETTERS, n, _LETTERS).sum(axis=(1, 3))
    found = np.sqrt(found)
    np.fill_diagonal(found, 0.0)
    return 0.5 * (found + found.T)


def corrected(found: NDArray) -> NDArray:
    """Return strengths less the product of the means of their columns over the mean of all; the diagonal is 0."""
    n = len(found)
    mean = found.sum(axis=1) / (n - 1)
    left = found - mean[:, None] * mean[None, :] / mean.mean()
    np.fill_diagonal(left, 0.0)
    return left


def standardised(strength: NDArray) -> NDArray:
    """Return strengths in robust standard deviations from the median of the pairs far apart in sequence."""
    n = len(strength)
    background = strength[np.triu_indices(n, _APART)]
    median = np.median(background)
    spread = _NORMAL * np.median(np.abs(background - median))
    scaled = (strength - median) / max(spread, 1e-12)
    np.fill_diagonal(scaled, 0.0)
    return scaled.astype(np.float32)
