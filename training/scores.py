"""Predict held-back chains under fixed conditions and measure them: CA-lDDT and pLDDT, with templates and without.

No held-back chain has a hit among the training chains; the templates shown are other chains of the library.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from models import alphafold, confidence
from models import residue_constants as rc
from pipeline.compare import lddt
from pipeline.predict.torsions import usual_torsions
from training import dataset

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Condition:
    """What is shown of a chain.

    Args:
        window: Lowest and highest identity of a template; None for no template.
        strength: Scale of couplings (`alignments.draw_couplings`), with rows from the profile; 0 for rows of hits.
    """

    window: tuple[float, float] | None = None
    strength: float = 0.0


CONDITIONS = {
    "template 30-90 %": Condition((0.3, 0.9)),
    "no template": Condition(),
    "no template, couplings": Condition(strength=3.0),
}
_NOWHERE = 1e4  # angstrom
LARGEST = 208  # residues; held-back chains have at most 200
_MSA_ROWS = 256
_CA = rc.ATOM37_ID["CA"]


Answer: TypeAlias = tuple[np.ndarray, np.ndarray]  # CA positions (n, 3), angstrom, and pLDDT (n,)
Way: TypeAlias = Callable[[dataset.Arrays], Answer]
Predictor: TypeAlias = Callable[[hk.Params, dataset.Arrays], Answer]


@dataclasses.dataclass(frozen=True)
class Score:
    """One prediction, measured: lDDT over CA atoms and pLDDT, both 0 to 1, and the identity of the best template."""

    chain: str
    length: int
    identity: float
    lddt: float
    plddt: float


def predictor(source: dataset.ExampleSource, recycles: int) -> Predictor:
    """Return the prediction of CA positions (n, 3) and pLDDT (n,) from weights and an example, compiled once."""
    densities = usual_torsions()

    def guided(batch: Mapping[str, jax.Array]) -> dict[str, Any]:
        outputs = alphafold.predict(source.config, batch, recycles)
        return outputs if hk.running_init() else alphafold.guided(source.config, batch, outputs, densities)

    network = hk.transform(guided)

    @jax.jit
    def run(weights: hk.Params, example: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
        inputs = {name: x for name, x in example.items() if name not in dataset.LABELS}
        repeated = jax.tree.map(lambda x: jnp.broadcast_to(x, (recycles + 1, *x.shape)), inputs)
        outputs = network.apply(weights, None, repeated)
        return outputs["structure_module"]["final_atom_positions"][:, _CA], outputs["predicted_lddt"]["logits"]

    def predict(weights: hk.Params, example: dataset.Arrays) -> Answer:
        positions, logits = run(weights, example)
        return np.asarray(positions), confidence.plddt(np.asarray(logits))

    return predict


def copied(example: dataset.Arrays) -> Answer:
    """Return the CA atoms of the best template as they are, and no confidence; what it lacks is far from everything."""
    positions = example["template_all_atom_positions"][0, :, _CA]
    known = example["template_all_atom_masks"][0, :, _CA, None] > 0
    nowhere = _NOWHERE * np.arange(1, len(positions) + 1)[:, None] * np.ones(3)
    return np.where(known, positions, nowhere), np.zeros(len(positions))


def evaluate(
    source: dataset.ExampleSource,
    chains: np.ndarray,
    condition: Condition,
    predict: Way,
) -> list[Score]:
    """Predict every chain that has a template in the window of identities (all chains where there is none)."""
    window, strength = condition.window, condition.strength
    quiet: dict[str, Any] = {"wrong_template_fraction": 0.0, "partial_template_fraction": 0.0}
    quiet |= {"coupled_fraction": float(strength > 0), "strengths": (strength or 1.0,) * 2}
    source = dataclasses.replace(source, settings=dataclasses.replace(source.settings, **quiet))
    scores = []
    for index in chains:
        hits = source.database.hits(index)
        low, high = window or (1.0, 0.9)
        allowed = np.flatnonzero((hits.identity >= low) & (hits.identity <= high))
        if window and len(allowed) == 0:
            continue
        templates = [int(k) for k in allowed[: source.config.input.max_templates]]
        related = np.flatnonzero(hits.identity <= high)[:_MSA_ROWS]
        rng = np.random.default_rng(0)
        msa = None if strength else source.database.hit_msa(index, related)
        example = source.example(index, rng, LARGEST, templates, msa)
        positions, plddt = predict(example)
        n = int(source.database.lengths[index])
        truth = example["all_atom_positions"][:n, _CA]
        best = float(hits.identity[templates[0]]) if templates else 0.0
        value = lddt(positions[:n], truth).score
        scores.append(Score(str(source.database.ids[index]), n, best, value, plddt[:n].mean() / 100))
        log.debug("%s", scores[-1])
    return scores


def table(
    source: dataset.ExampleSource,
    chains: np.ndarray,
    predict: Way,
) -> Iterator[tuple[str, str, str, str]]:
    """Give condition, number of chains, mean CA-lDDT and mean pLDDT, as text."""
    for name, condition in CONDITIONS.items():
        found = evaluate(source, chains, condition, predict)
        means = (np.mean([s.lddt for s in found]), np.mean([s.plddt for s in found]))
        yield name, str(len(found)), f"{means[0]:.3f}", f"{means[1]:.3f}"
