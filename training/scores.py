"""Predict held-back chains under fixed conditions and measure them: CA-lDDT and pLDDT, with templates and without.

No held-back chain has a hit among the training chains; the templates shown are other chains of the library.
"""

import dataclasses
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np

from models import alphafold, confidence
from models import residue_constants as rc
from pipeline.a3m import encode, read_a3m
from pipeline.compare import lddt
from pipeline.errors import RecordError
from pipeline.predict.torsions import usual_torsions
from training import dataset

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Condition:
    """What is shown of a chain.

    Args:
        window: Lowest and highest identity of a template; None for no template.
        strength: Scale of drawn couplings, with rows from the profile; 0 for rows of hits.
        clean: Whether these are better than real ones (`training/alignments.py`).
    """

    window: tuple[float, float] | None = None
    strength: float = 0.0
    clean: bool = False


_STRENGTH = 3.0  # of couplings, that of some 900 effective rows
_CLEAN_STRENGTH = 2.0
CONDITIONS = {
    "template 30-90 %": Condition((0.3, 0.9)),
    "no template": Condition(),
    "no template, clean couplings": Condition(strength=_CLEAN_STRENGTH, clean=True),
    "no template, rough couplings": Condition(strength=_STRENGTH),
}
_NOWHERE = 1e4  # angstrom
LARGEST = 208  # residues; held-back chains have at most 200
_MSA_ROWS = 256
_NEAR = np.radians(40.0)  # of a torsion that is right
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

    def finished(batch: Mapping[str, jax.Array]) -> dict[str, Any]:
        outputs = alphafold.predict(source.config, batch, recycles)
        return outputs if hk.running_init() else alphafold.finished(source.config, batch, outputs, densities)

    network = hk.transform(finished)

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


def torsion_centres(bins: int) -> np.ndarray:
    """Return the middles of bins round the circle, radian, as the head of the torsions has them (`models/heads.py`)."""
    return 2 * np.pi * ((np.arange(bins) + 0.5) / bins - 0.5)


def right_torsions(shares: jax.Array | np.ndarray, truth: jax.Array | np.ndarray) -> jax.Array:
    """Return whether the likeliest phi and psi are both right to 40 degrees, shape (n,).

    Args:
        shares: Of the bins, or their logits, shape (n, 2, bins).
        truth: Radian, shape (n, 2).
    """
    likeliest = jnp.asarray(torsion_centres(shares.shape[-1]))[jnp.argmax(shares, axis=-1)]
    return jnp.all(jnp.cos(likeliest - truth) > np.cos(_NEAR), axis=-1)


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
    quiet |= {"clean_fraction": float(condition.clean)}
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
        best = float(hits.identity[templates[0]]) if templates else 0.0
        scores.append(_score(source, index, example, predict, best))
        log.debug("%s", scores[-1])
    return scores


def _score(source: dataset.ExampleSource, index: int, example: dataset.Arrays, predict: Way, identity: float) -> Score:
    positions, plddt = predict(example)
    n = int(source.database.lengths[index])
    value = lddt(positions[:n], example["all_atom_positions"][:n, _CA]).score
    return Score(str(source.database.ids[index]), n, identity, value, plddt[:n].mean() / 100)


def _means(found: Sequence[Score]) -> tuple[str, str, str]:
    """Return the number of chains, their mean CA-lDDT and their mean pLDDT, as text."""
    return str(len(found)), f"{np.mean([s.lddt for s in found]):.3f}", f"{np.mean([s.plddt for s in found]):.3f}"


def without_couplings(example: dataset.Arrays) -> dataset.Arrays:
    """Return an example of which no couplings are known."""
    return example | {name: np.zeros_like(x) for name, x in example.items() if name == "couplings"}


def table_of_alignments(
    source: dataset.ExampleSource, folder: Path, predict: Way
) -> Iterator[tuple[str, str, str, str]]:
    """Give rows as of `table` for chains with alignments of their own, without templates: what couplings are worth.

    Args:
        source: Of the chains.
        folder: `ID.a3m` for each chain; most are chains that are trained on, so only differences tell something.
        predict: From an example to its structure.

    Raises:
        RecordError: A file is named after no chain, or its query is not that chain.
    """
    found: dict[str, list[Score]] = {}
    ids = {str(name): index for index, name in enumerate(source.database.ids)}
    deep = dataclasses.replace(source.settings, coupled_fraction=1.0, clean_fraction=0.0, strengths=(_STRENGTH,) * 2)
    drawing = dataclasses.replace(source, settings=deep)
    for path in sorted(folder.glob("*.a3m")):
        if path.stem not in ids:
            raise RecordError("no chain of the set has this name", str(path), "name the files ID.a3m")
        index = ids[path.stem]
        length = int(source.database.lengths[index])
        if length > LARGEST:
            continue
        alignment = read_a3m(path)
        _check_query(path, alignment.query, source.database.letters(index).tobytes().decode("ascii"))
        example = source.example(index, np.random.default_rng(0), LARGEST, [], encode(alignment))
        drawn = drawing.example(index, np.random.default_rng(0), LARGEST, [])
        shown = {"as found": example, "couplings left out": without_couplings(example), "drawn": drawn}
        for name, given in shown.items():
            found.setdefault(f"alignment, {name}", []).append(_score(source, index, given, predict, 0.0))
    for name, judged in found.items():
        yield name, *_means(judged)


def _check_query(path: Path, found: str, chain: str) -> None:
    if found != chain:
        same = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(found, chain, strict=False)))
        problem = f"expected the {len(chain)} residues of the chain as query, found {len(found)}"
        mend = "name the files ID.a3m, the query first"
        raise RecordError(f"{problem}, other ones from residue {same + 1} on", str(path), mend)


def table(
    source: dataset.ExampleSource,
    chains: np.ndarray,
    predict: Way,
) -> Iterator[tuple[str, str, str, str]]:
    """Give condition, number of chains, mean CA-lDDT and mean pLDDT, as text."""
    for name, condition in CONDITIONS.items():
        yield name, *_means(evaluate(source, chains, condition, predict))
