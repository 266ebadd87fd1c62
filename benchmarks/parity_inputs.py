"""Random inputs of the comparison with the published network, in all the ways that inputs can differ."""

import dataclasses

import jax
import numpy as np

from models import alphafold, inputs
from models import residue_constants as rc
from models.config import InputConfig, ModelConfig

Arrays = dict[str, np.ndarray]

RESIDUES, CLUSTERS, EXTRA, TEMPLATES = 29, 11, 13, 4  # all cases have these shapes, so that few programs are compiled
RECYCLES = 3
ALIGNMENT_ROWS = 41


@dataclasses.dataclass(frozen=True)
class Case:
    """What distinguishes the inputs of one comparison.

    Args:
        residues: Real residues; the others are padding.
        rows: Rows of the alignment before clustering; those that the sizes leave empty are padding.
        templates: Real templates; the others are padding.
        extra: Whether the extra MSA is there or masked.
        template_mask: Whether the templates that are there count.
    """

    residues: int = RESIDUES
    rows: int = ALIGNMENT_ROWS
    templates: int = TEMPLATES
    extra: bool = True
    template_mask: bool = True


CASES = {
    "whole": Case(),
    "two_templates": Case(templates=2),
    "no_template": Case(templates=0),
    "masked_templates": Case(template_mask=False),
    "padding": Case(residues=23, rows=17, templates=3),
    "clusters_not_full": Case(residues=27, rows=7),
    "empty_extra_msa": Case(extra=False),
    "single_sequence": Case(rows=1, templates=0),
}


def random_inputs(config: ModelConfig, case: Case, seed: int) -> Arrays:
    """Return the network's inputs for all iterations: made from a random alignment, with index gaps and X."""
    rng = np.random.default_rng(seed)
    sizes = dataclasses.replace(
        config.input,
        max_msa_clusters=CLUSTERS + (config.input.max_templates if config.input.reserve_template_rows else 0),
        max_extra_msa=EXTRA,
    )
    made = inputs.make_inputs(_random_features(case, rng), sizes, rng, RECYCLES + 1)
    example = alphafold.example_batch(dataclasses.replace(config, input=_sizes(config)), RESIDUES, RECYCLES + 1)
    batch = {name: _padded(made[name], array) for name, array in example.items()}
    if not case.extra:
        batch["extra_msa_mask"] = np.zeros_like(batch["extra_msa_mask"])
    if not case.template_mask and "template_mask" in batch:
        batch["template_mask"] = np.zeros_like(batch["template_mask"])
    return batch


def _sizes(config: ModelConfig) -> InputConfig:
    templates = TEMPLATES if config.input.max_templates else 0
    return dataclasses.replace(config.input, max_msa_clusters=CLUSTERS, max_extra_msa=EXTRA, max_templates=templates)


def _padded(array: np.ndarray, example: jax.Array) -> np.ndarray:
    """Pad with zeros to the shape and the type of an example."""
    missing = [(0, wanted - there) for wanted, there in zip(example.shape, array.shape, strict=True)]
    return np.pad(array, missing).astype(example.dtype)


def _random_features(case: Case, rng: np.random.Generator) -> Arrays:
    """Return raw features: related rows with gaps and insertions, templates with holes, two jumps of the index, X."""
    n = case.residues
    query = rng.integers(0, 20, n)
    query[n // 2] = 20
    msa = np.where(rng.random((case.rows, n)) < 0.6, query, rng.integers(0, 22, (case.rows, n)))
    msa[0] = query
    deletions = rng.integers(0, 6, msa.shape) * (rng.random(msa.shape) < 0.1)
    deletions[0] = 0
    to_hhblits = np.argsort(inputs.HHBLITS_TO_AATYPE[:22])
    index = np.arange(n) + 10 * (np.arange(n) > n // 3) + 200 * (np.arange(n) > 2 * n // 3)
    aatype = np.where(rng.random((case.templates, n)) < 0.7, query, rng.integers(0, 20, (case.templates, n)))
    ca = np.cumsum(rng.normal(size=(case.templates, n, 3)) * 2.2, axis=1)
    mask = rc.ATOM37_MASK[aatype] * (rng.random((case.templates, n, 37)) < 0.97)
    mask = mask * (rng.random((case.templates, n, 1)) < 0.85)
    positions = (ca[:, :, None] + rng.normal(size=(case.templates, n, 37, 3)) * 1.4) * mask[..., None]
    return {
        "aatype": query,
        "residue_index": index,
        "msa": to_hhblits[msa].astype(np.int8),
        "deletion_matrix": deletions.astype(np.int16),
        "template_aatype": aatype,
        "template_positions": positions,
        "template_mask": mask,
    }
