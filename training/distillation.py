"""Learn from trained networks too: what they expect of distances, beside the truth.

Source: Hinton et al. 2015, arXiv:1503.02531, with the mean of the teachers' probabilities and no temperature.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from models import losses, params

Network: TypeAlias = Callable[[hk.Params], Mapping[str, Any]]


def digest(teachers: Sequence[hk.Params]) -> list[str]:
    """Return the sha256 of the numbers of each teacher."""
    return [
        hashlib.sha256(b"".join(np.asarray(x).tobytes() for _, x in sorted(params.flat(teacher).items()))).hexdigest()
        for teacher in teachers
    ]


def lesson(
    logits: Float[Array, "n n bins"], seq_mask: Float[Array, " n"], network: Network, teachers: Sequence[hk.Params]
) -> Float[Array, ""]:
    """Return the cross entropy of the distances that the teachers expect, on average.

    Args:
        logits: Of the student's distogram.
        seq_mask: 1 for real residues.
        network: From parameters to the outputs for the same example.
        teachers: Parameters of trained networks.
    """
    shares = [jax.nn.softmax(network(teacher)["distogram"]["logits"]) for teacher in teachers]
    expected = jax.lax.stop_gradient(sum(shares[1:], shares[0]) / len(shares))
    entropy = -jnp.sum(expected * jax.nn.log_softmax(logits), axis=-1)
    return losses.masked_mean(entropy, seq_mask[:, None] * seq_mask)
