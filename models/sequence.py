"""Gated convolutions along the chain over the target's own row: what a stretch of sequence says of itself.

Not in AlphaFold 2. Secondary structure and torsions follow from some tens of neighbours, which a convolution learns
from far fewer chains than attention does, at a cost that grows with the length alone.

Source of the gate: Dauphin et al. 2017, arXiv:1612.08083.
"""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from models.config import SequenceConfig
from models.primitives import layer_norm, linear
from models.shapes import SeqMask, Single


@dataclasses.dataclass
class SequenceTrack(hk.Module):
    """Add to each residue what its neighbours along the chain say."""

    config: SequenceConfig
    name: str | None = "sequence_track"

    def __call__(self, row: Single, seq_mask: SeqMask) -> Single:
        """Return the row after all convolutions; masked residues count as none."""

        def repeat(row: Single) -> Single:
            for number, dilation in enumerate(self.config.dilations):
                row = row + self._convolution(row, seq_mask, dilation, f"convolution_{number}")
            return row

        return hk.layer_stack(self.config.repeats, name="convolutions")(repeat)(row)

    @hk.transparent
    def _convolution(self, row: Single, seq_mask: SeqMask, dilation: int, name: str) -> Single:
        """Return what one gated convolution adds."""
        with hk.name_scope(name):
            x = layer_norm(row, "input_layer_norm") * seq_mask[:, None].astype(row.dtype)
            hidden = linear(windows(x, self.config.kernel, dilation), 2 * self.config.channels, "window", init="relu")
            value, gate = jnp.split(hidden, 2, axis=-1)
            return linear(value * jax.nn.sigmoid(gate), row.shape[-1], "output", init="zeros")


def windows(x: Single, kernel: int, dilation: int) -> Float[Array, "n kernel_c"]:
    """Return the channels of each residue's neighbours side by side, every `dilation`-th; 0 beyond the chain."""
    reach, n = kernel // 2 * dilation, len(x)
    padded = jnp.pad(x, ((reach, reach), (0, 0)))
    return jnp.concatenate([padded[k * dilation : k * dilation + n] for k in range(kernel)], axis=-1)
