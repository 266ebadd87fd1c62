"""Learn from trained networks too: what they expect of distances, beside the truth.

Source: Hinton et al. 2015, arXiv:1503.02531, with the mean of the teachers' probabilities and no temperature.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from models import losses, params
from models.config import ModelConfig

# The heads that neither distances nor the frames of the next recycle come from, switched off.
_UNREAD: dict[str, Any] = {"pae_bins": 0, "torsion_bins": 0} | dict.fromkeys(
    ("masked_msa", "experimentally_resolved", "hydrogen_bonds", "secondary_structure"), False
)


@dataclasses.dataclass(frozen=True)
class Teachers:
    """Trained networks.

    Args:
        config: Of them all, with the heads alone that distances come from.
        params: Of each.
        about: What the file of each says of its training.
    """

    config: ModelConfig
    params: tuple[hk.Params, ...]
    about: tuple[dict[str, Any], ...] = ()

    @property
    def sha256(self) -> list[str]:
        """The sha256 of the numbers of each."""
        return [
            hashlib.sha256(b"".join(np.asarray(x).tobytes() for _, x in sorted(params.flat(one).items()))).hexdigest()
            for one in self.params
        ]


def read(paths: Sequence[Path], config: ModelConfig) -> Teachers:
    """Read weights of a network; heads that distances do not come from may differ.

    Raises:
        ParameterFileError: A file is missing or damaged, or lacks parameters.
    """
    config = dataclasses.replace(config, heads=dataclasses.replace(config.heads, **_UNREAD))
    found = tuple(params.load_shared(path, config) for path in paths)
    for path, one in zip(paths, found, strict=True):
        if missing := params.shapes(config).keys() - params.flat(one).keys():
            raise params.ParameterFileError(path, missing=tuple(sorted(missing)))
    return Teachers(config, found, tuple(params.read_metadata(path).get("training", {}) for path in paths))


def lesson(
    logits: Float[Array, "n n bins"], seq_mask: Float[Array, " n"], taught: Sequence[Float[Array, "n n bins"]]
) -> Float[Array, ""]:
    """Return the cross entropy of the distances that the teachers expect, on average.

    Args:
        logits: Of the student's distogram.
        seq_mask: 1 for real residues.
        taught: Of the distograms of the teachers.
    """
    shares = [jax.nn.softmax(one) for one in taught]
    expected = jax.lax.stop_gradient(sum(shares[1:], shares[0]) / len(shares))
    entropy = -jnp.sum(expected * jax.nn.log_softmax(logits), axis=-1)
    return losses.masked_mean(entropy, seq_mask[:, None] * seq_mask)
