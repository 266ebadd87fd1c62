"""The heads: what is read off the representations (Suppl. 1.9). Each is a module under its published name.

Logits carry their bins last. Edges of bins are in angstrom.
"""

import dataclasses

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from models import residue_constants as rc
from models.config import HeadsConfig
from models.primitives import LinearParameters, layer_norm, linear
from models.shapes import Msa, Pair, Single

MASKED_MSA_CLASSES = 23  # 20 amino acids, X, gap, mask
RESOLVED_CLASSES = len(rc.ATOM37)
SECONDARY_STRUCTURES = 3  # helix, strand, neither
STRAND = 1
SURPRISE = 0.05  # share of torsions that are not as expected


def distogram_edges(config: HeadsConfig) -> np.ndarray:
    """Return the edges between the bins of the distogram, one fewer than bins."""
    return np.linspace(config.distogram_min, config.distogram_max, config.distogram_bins - 1)


def pae_edges(config: HeadsConfig) -> np.ndarray:
    """Return the edges between the bins of the aligned error, one fewer than bins."""
    return np.linspace(0.0, config.pae_max, config.pae_bins - 1)


def _pair_logits(pair: Pair, bins: int, name: str, bias_factor: float = 1.0) -> Float[Array, "n n bins"]:
    """Map the channels of a channel-first representation to bins that come last.

    The bias is spread by a product with ones, so that its gradient is a product too and not a sum fused with others.
    """
    weights, bias = LinearParameters(bins, "zeros", name=name)(pair.shape[0], pair.dtype)
    flat = pair.reshape(pair.shape[0], -1)
    logits = flat.T @ weights + jnp.ones((flat.shape[1], 1), flat.dtype) @ (bias_factor * bias)[None]
    return logits.reshape(*pair.shape[1:], bins)


@dataclasses.dataclass
class DistogramHead(hk.Module):
    """Predict the distance of each pair of residues (Suppl. 1.9.8)."""

    config: HeadsConfig
    name: str | None = "distogram_head"

    def __call__(self, pair: Pair) -> dict[str, Array]:
        """Return `logits` (n, n, bins), symmetric, and `bin_edges`."""
        both = pair + jnp.swapaxes(pair, 1, 2)
        logits = _pair_logits(both, self.config.distogram_bins, "half_logits", bias_factor=2.0)
        return {"logits": logits, "bin_edges": jnp.asarray(distogram_edges(self.config), pair.dtype)}


@dataclasses.dataclass
class PredictedLddtHead(hk.Module):
    """Predict the lDDT of each CA (Suppl. Alg. 29)."""

    config: HeadsConfig
    name: str | None = "predicted_lddt_head"

    def __call__(self, single: Single) -> dict[str, Array]:
        """Return `logits` (n, bins) from the structure module's single representation."""
        x = layer_norm(single, "input_layer_norm")
        for name in ("act_0", "act_1"):
            x = jax.nn.relu(linear(x, self.config.plddt_channels, name, init="relu"))
        return {"logits": linear(x, self.config.plddt_bins, "logits", init="zeros")}


@dataclasses.dataclass
class PredictedAlignedErrorHead(hk.Module):
    """Predict the error of each residue where the frame of another is superposed (Suppl. 1.9.7)."""

    config: HeadsConfig
    name: str | None = "predicted_aligned_error_head"

    def __call__(self, pair: Pair) -> dict[str, Array]:
        """Return `logits` (frames, residues, bins), `bin_edges`, and `lower_edges`, from which errors are read."""
        edges = pae_edges(self.config)
        return {
            "logits": _pair_logits(pair, self.config.pae_bins, "logits"),
            "bin_edges": jnp.asarray(edges, pair.dtype),
            "lower_edges": jnp.asarray(edges + self.config.pae_lowest, pair.dtype),
        }


@dataclasses.dataclass
class ExperimentallyResolvedHead(hk.Module):
    """Predict whether each atom is seen in the experiment (Suppl. 1.9.10)."""

    name: str | None = "experimentally_resolved_head"

    def __call__(self, single: Single) -> dict[str, Array]:
        """Return `logits` (n, 37) from the trunk's single representation."""
        return {"logits": linear(single, RESOLVED_CLASSES, "logits", init="zeros")}


@dataclasses.dataclass
class MaskedMsaHead(hk.Module):
    """Predict the letters that were hidden in the MSA (Suppl. 1.9.9)."""

    name: str | None = "masked_msa_head"

    def __call__(self, msa: Msa) -> dict[str, Array]:
        """Return `logits` (s, n, 23)."""
        return {"logits": linear(msa, MASKED_MSA_CLASSES, "logits", init="zeros")}


@dataclasses.dataclass
class TorsionHead(hk.Module):
    """Predict phi and psi from the trunk's single representation. Not in AlphaFold 2."""

    config: HeadsConfig
    name: str | None = "torsion_head"

    def __call__(self, single: Single) -> dict[str, Array]:
        """Return `logits` (n, 2, bins) of phi and psi; bins go round the circle from -180 degrees."""
        bins = self.config.torsion_bins
        logits = linear(layer_norm(single, "input_layer_norm"), 2 * bins, "logits", init="zeros")
        return {"logits": logits.reshape(-1, 2, bins)}


def torsion_log_densities(logits: Float[Array, "n 2 bins"]) -> Float[Array, "n 2 bins"]:
    """Return the logarithms of what is expected of phi and psi, blurred by a bin, and nothing quite impossible."""
    share = jax.nn.softmax(logits, axis=-1)
    blurred = 0.5 * share + 0.25 * (jnp.roll(share, 1, axis=-1) + jnp.roll(share, -1, axis=-1))
    return jnp.log((1 - SURPRISE) * blurred + SURPRISE / logits.shape[-1])


@dataclasses.dataclass
class HydrogenBondHead(hk.Module):
    """Predict which C=O each N-H of the backbone binds (`models/hydrogen_bonds.py`). Not in AlphaFold 2."""

    name: str | None = "hydrogen_bond_head"

    def __call__(self, pair: Pair) -> dict[str, Array]:
        """Return `logits` (N-H, C=O); the diagonal is no hydrogen bond."""
        return {"logits": _pair_logits(pair, 1, "logits")[..., 0]}


@dataclasses.dataclass
class SecondaryStructureHead(hk.Module):
    """Predict helix, strand or neither from the trunk's single representation. Not in AlphaFold 2."""

    name: str | None = "secondary_structure_head"

    def __call__(self, single: Single) -> dict[str, Array]:
        """Return `logits` (n, 3)."""
        return {"logits": linear(layer_norm(single, "input_layer_norm"), SECONDARY_STRUCTURES, "logits", init="zeros")}


@dataclasses.dataclass
class HandednessHead(hk.Module):
    """Predict the CA pseudo-dihedrals, whose signs tell a fold from its mirror image. Not in AlphaFold 2."""

    name: str | None = "handedness_head"

    def __call__(self, single: Single) -> dict[str, Array]:
        """Return `sin_cos` (n, 2), not normalised: sine and cosine of the dihedral of the CA of residues i-1 .. i+2."""
        return {"sin_cos": linear(single, 2, "logits", init="zeros")}
