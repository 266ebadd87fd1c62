"""Confidence from the logits of the heads: pLDDT, predicted aligned error, pTM. NumPy only.

Source: Jumper et al. 2021, Suppl. 1.9.6 and 1.9.7.
"""

import numpy as np
from jaxtyping import Float

Array = np.ndarray

_SMALLEST_FOR_D0 = 19  # residues; below, d0 of the TM-score would not grow with length


def softmax(logits: Float[Array, "*batch bins"]) -> Float[Array, "*batch bins"]:
    """Return probabilities over the last axis."""
    weight = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    return weight / np.sum(weight, axis=-1, keepdims=True)


def plddt(logits: Float[Array, "n bins"]) -> Float[Array, " n"]:
    """Return the expected lDDT of each CA, 0 to 100."""
    bins = logits.shape[-1]
    centres = (np.arange(bins) + 0.5) / bins
    return 100 * np.sum(softmax(logits) * centres, axis=-1)


def bin_centres(edges: Float[Array, " edges"]) -> Float[Array, " bins"]:
    """Return the centres of error bins: half a step above each edge but no less than 0, and one more for the rest.

    Args:
        edges: Lower edges of equal bins, angstrom.
    """
    step = edges[1] - edges[0]
    centres = edges + step / 2
    return np.maximum(np.append(centres, centres[-1] + step), 0)


def predicted_aligned_error(logits: Float[Array, "n n bins"], edges: Float[Array, " edges"]) -> Float[Array, "n n"]:
    """Return the expected error of residue j where the frame of residue i is superposed, angstrom.

    Args:
        logits: Logits of the aligned error.
        edges: Lower edges of its bins, angstrom.
    """
    return np.sum(softmax(logits) * bin_centres(edges), axis=-1)


def predicted_tm_score(
    logits: Float[Array, "n n bins"], edges: Float[Array, " edges"], seq_mask: Float[Array, " n"] | None = None
) -> float:
    """Return the predicted TM-score, 0 to 1: that of the best superposed frame (Suppl. eq. 40).

    Args:
        logits: Logits of the aligned error.
        edges: Lower edges of its bins, angstrom.
        seq_mask: 1 for residues that count; None for all.
    """
    weight = np.ones(len(logits)) if seq_mask is None else np.asarray(seq_mask, float)
    length = max(float(np.sum(weight)), _SMALLEST_FOR_D0)
    d0 = 1.24 * np.cbrt(length - 15) - 1.8  # Yang & Skolnick 2004, eq. 5
    per_bin = 1 / (1 + np.square(bin_centres(edges) / d0))
    per_pair = np.sum(softmax(logits) * per_bin, axis=-1)
    pairs = weight[:, None] * weight
    share = pairs / (1e-8 + np.sum(pairs, axis=-1, keepdims=True))
    return float(np.max(np.sum(per_pair * share, axis=-1) * weight))
