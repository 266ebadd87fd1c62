"""Training examples: chains with what a search would have found for them, in the form in which predict gets it.

Two sources: the chains of ProMod3's StructureDB (backbone, HHblits profile, hits of the set against itself) and
experimental all-atom chains for the side chains. An alignment is drawn anew each time, deep, shallow or none, so that
inputs at training look like inputs at use; both go through `models/inputs.py`.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from models import hydrogen_bonds, inputs, residue_constants
from models.config import ModelConfig
from training import alignments
from training.chain_sets import (
    BACKBONE_ATOM37,
    LETTER_TO_AATYPE,
    LETTER_TO_HHBLITS,
    Alignment,
    AllAtomChains,
    Arrays,
    StructureDB,
    template_map,
)

# What an example holds beside the network's inputs.
LABELS = ("all_atom_positions", "all_atom_mask", "bonded", "secondary_structure")

_PADDED = 64  # residues; whole chains are padded to multiples

_GAP = residue_constants.GAP  # the same id in both alphabets
_CA, _CB = residue_constants.ATOM37_ID["CA"], residue_constants.ATOM37_ID["CB"]


@dataclasses.dataclass(frozen=True)
class SamplingSettings:
    """How an example is drawn from a chain.

    Args:
        max_rows: Most rows of a drawn alignment.
        profile_fraction: How often the alignment is drawn from the profile; else from hits or, rarely, the query alone.
        single_fraction: How often the query stands alone.
        template_counts: Probabilities of 0, 1, 2 ... templates.
        wrong_template_fraction: How often a template is an unrelated chain.
        partial_template_fraction: How often a segment of a template is hidden.
        max_template_identity: Closest hit that may be shown as a template.
        allatom_fraction: How often the chain is one of the all-atom set, shown its own noisy backbone as template.
        coupled_fraction: How often the alignment is a deep one, whose columns are coupled.
        coupled_rows: The fewest rows of such an alignment.
        clean_fraction: How many of these have couplings that are better than real ones.
        strengths: The least and the greatest scale of couplings in contact, standard deviations of their noise.
    """

    max_rows: int = 128
    profile_fraction: float = 0.5
    single_fraction: float = 0.15
    template_counts: tuple[float, ...] = (0.35, 0.35, 0.3)
    wrong_template_fraction: float = 0.03
    partial_template_fraction: float = 0.2
    max_template_identity: float = 0.95
    allatom_fraction: float = 0.2
    coupled_fraction: float = 0.5
    coupled_rows: int = 64
    clean_fraction: float = 0.5
    strengths: tuple[float, float] = (0.5, 8.0)


@dataclasses.dataclass(frozen=True)
class Labels:
    """What is known of a stretch of a chain.

    Args:
        positions: Of atom37, angstrom, shape (n, 37, 3).
        mask: Which atoms are there, shape (n, 37).
        bonded: Hydrogen bonds, see `bonded_residues`.
        secondary_structure: 0 helix, 1 strand, 2 neither, -1 unknown, int32 (n,).
    """

    positions: np.ndarray
    mask: np.ndarray
    bonded: np.ndarray
    secondary_structure: np.ndarray


@dataclasses.dataclass(frozen=True)
class ExampleSource:
    """Draws examples: `draw` for training, `example` for a given chain."""

    database: StructureDB
    allatom: AllAtomChains | None
    training: np.ndarray
    config: ModelConfig
    settings: SamplingSettings = SamplingSettings()

    def describe(self) -> dict[str, Any]:
        """Return what a parameter file says of the data that it was made from."""
        ids = "\n".join(str(self.database.ids[i]) for i in self.training)
        allatom = "\n".join(self.allatom.letters()) if self.allatom else ""
        return {
            "training_chains": len(self.training),
            "training_list_sha256": hashlib.sha256(ids.encode()).hexdigest(),
            "allatom_chains": len(self.allatom) if self.allatom else 0,
            "allatom_sequences_sha256": hashlib.sha256(allatom.encode()).hexdigest(),
            "sampling": dataclasses.asdict(self.settings),
        }

    def draw(self, rng: np.random.Generator, crop: int) -> Arrays:
        """Return one random example: network inputs and labels, padded to `crop` residues."""
        if self.allatom is not None and rng.random() < self.settings.allatom_fraction:
            return self._allatom_example(self.allatom, rng, crop)
        index = int(rng.choice(self.training))
        count = int(rng.choice(len(self.settings.template_counts), p=self.settings.template_counts))
        return self.example(index, rng, crop, self._pick_templates(index, rng, count))

    def example(
        self, index: int, rng: np.random.Generator, crop: int, templates: list[int], msa: Alignment | None = None
    ) -> Arrays:
        """Return a chain with the given hits as templates, cropped and padded to `crop` residues.

        Args:
            index: Of the chain.
            rng: Source of all choices.
            crop: Residues.
            templates: Positions in its list of hits.
            msa: Its alignment, whose couplings are found as in use; drawn, with its couplings, where there is none.
        """
        length = int(self.database.lengths[index])
        start = int(rng.integers(0, max(length - crop, 0) + 1))
        window = slice(start, min(start + crop, length))
        letters = self.database.letters(index)
        positions, mask = self.database.atom37(index)
        coupled = msa is None and rng.random() < self.settings.coupled_fraction
        rows, deletions = alignments.without_duplicates(*(msa or self._draw_msa(index, rng, deep=coupled)))
        raw: Arrays = {
            "aatype": LETTER_TO_AATYPE[letters[window]].astype(np.int32),
            "residue_index": np.arange(window.start, window.stop, dtype=np.int32),
            "msa": rows[:, window],
            "deletion_matrix": deletions[:, window],
            **self._template_arrays(index, rng, templates, window),
        }
        if self.config.input.couplings and msa is None:
            n = window.stop - window.start
            drawn = self._draw_couplings(positions[window], mask[window], rng) if coupled else np.zeros((n, n))
            raw["couplings"] = drawn.astype(np.float32)
        bonded = bonded_residues(LETTER_TO_AATYPE[letters], np.arange(length), positions, mask)
        labels = Labels(positions[window], mask[window], within(bonded, window), self.database.states(index)[window])
        return self._finish(raw, labels, rng, crop)

    def _pick_templates(self, index: int, rng: np.random.Generator, count: int) -> list[int]:
        """Return positions in the list of hits: the best ones below a random identity."""
        hits = self.database.hits(index)
        limit = rng.uniform(0.2, self.settings.max_template_identity)
        allowed = np.flatnonzero(hits.identity <= limit)
        if len(allowed) == 0:
            allowed = np.flatnonzero(hits.identity <= self.settings.max_template_identity)
        return [int(k) for k in allowed[:count]]

    def _draw_msa(self, index: int, rng: np.random.Generator, *, deep: bool) -> Alignment:
        """Return an alignment (rows, n) of HHblits ids and its deletions, the query first."""
        query = LETTER_TO_HHBLITS[self.database.letters(index)]
        fewest = self.settings.coupled_rows if deep else 1
        rows = int(np.exp(rng.uniform(np.log(fewest), np.log(self.settings.max_rows))))
        choice = rng.random()
        if deep:
            return self._drawn(index, rows, rng)
        if choice < self.settings.single_fraction:
            return query[None], np.zeros((1, len(query)), np.int16)
        if choice < self.settings.single_fraction + self.settings.profile_fraction:
            return self._drawn(index, rows, rng)
        return self.database.hit_msa(index, rng.permutation(len(self.database.hits(index).target))[:rows])

    def _drawn(self, index: int, rows: int, rng: np.random.Generator) -> Alignment:
        """Return an alignment whose rows are drawn from the profile of the chain."""
        query = LETTER_TO_HHBLITS[self.database.letters(index)]
        drawn = alignments.draw_rows(self.database.profile(index), rows, rng)
        return np.concatenate([query[None], drawn]), np.zeros((rows + 1, len(query)), np.int16)

    def _template_arrays(self, index: int, rng: np.random.Generator, templates: list[int], window: slice) -> Arrays:
        hits, length = self.database.hits(index), int(self.database.lengths[index])
        built = []
        for k in templates:
            target, mapping = int(hits.target[k]), template_map(length, hits, k)[window]
            if rng.random() < self.settings.wrong_template_fraction:
                target = int(rng.choice(self.training))
                mapping = np.where(np.arange(len(mapping)) < self.database.lengths[target], np.arange(len(mapping)), -1)
            if rng.random() < self.settings.partial_template_fraction:
                a, b = np.sort(rng.integers(0, len(mapping) + 1, 2))
                mapping = np.where((np.arange(len(mapping)) >= a) & (np.arange(len(mapping)) < b), -1, mapping)
            if np.any(mapping >= 0):
                built.append(self._one_template(target, mapping))
        return stack_templates(built, window.stop - window.start)

    def _one_template(self, target: int, mapping: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        positions, mask = self.database.atom37(target)
        aligned = mapping >= 0
        aatype = np.where(aligned, LETTER_TO_AATYPE[self.database.letters(target)[mapping]], _GAP)
        return aatype, positions[mapping] * aligned[:, None, None], mask[mapping] & aligned[:, None]

    def _allatom_example(self, chains: AllAtomChains, rng: np.random.Generator, crop: int) -> Arrays:
        """Return an all-atom chain with its own backbone, blurred, as the template: what teaches side chains."""
        chain = chains.chain(int(rng.integers(len(chains))))
        length = len(chain["aatype"])
        start = int(rng.integers(0, max(length - crop, 0) + 1))
        window = slice(start, min(start + crop, length))
        aatype, positions, mask = chain["aatype"][window], chain["positions"][window], chain["mask"][window]
        shown = np.zeros_like(mask)
        shown[:, BACKBONE_ATOM37] = mask[:, BACKBONE_ATOM37]
        blur = rng.normal(0, rng.uniform(0.05, 0.5), positions.shape).astype(np.float32)
        raw: Arrays = {
            "aatype": aatype,
            "residue_index": chain["residue_index"][window],
            "msa": residue_constants.RESTYPE_TO_HHBLITS[aatype].astype(np.int8)[None],
            "deletion_matrix": np.zeros((1, len(aatype)), np.int16),
            **stack_templates([(aatype, (positions + blur) * shown[..., None], shown)], len(aatype)),
        }
        bonded = bonded_residues(*(chain[name] for name in ("aatype", "residue_index", "positions", "mask")))
        unknown = np.full(len(aatype), -1, np.int32)
        return self._finish(raw, Labels(positions, mask, within(bonded, window), unknown), rng, crop)

    def _draw_couplings(self, positions: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        glycine = mask[:, _CB] == 0
        strength = np.exp(rng.uniform(*np.log(self.settings.strengths)))
        beta = np.where(glycine[:, None], positions[:, _CA], positions[:, _CB])
        clean = rng.random() < self.settings.clean_fraction
        draw = alignments.draw_clean_couplings if clean else alignments.draw_couplings
        return draw(beta, strength, rng)

    def _finish(self, raw: Arrays, labels: Labels, rng: np.random.Generator, crop: int) -> Arrays:
        n = len(labels.positions)
        batch = inputs.make_inputs(raw, self.config.input, rng, iterations=1)
        batch = inputs.pad_inputs(batch, self.config, inputs.full_sizes(self.config.input, crop))
        example = {name: value[0] for name, value in batch.items()}
        missing = crop - n
        example["all_atom_positions"] = np.pad(labels.positions, ((0, missing), (0, 0), (0, 0)))
        example["all_atom_mask"] = np.pad(labels.mask.astype(np.float32), ((0, missing), (0, 0)))
        example["bonded"] = np.pad(labels.bonded, (0, missing), constant_values=-1)
        example["secondary_structure"] = np.pad(labels.secondary_structure, (0, missing), constant_values=-1)
        return example


def bonded_residues(
    aatype: np.ndarray, residue_index: np.ndarray, positions: np.ndarray, mask: np.ndarray
) -> np.ndarray:
    """Return the residue whose C=O each N-H of a chain binds, itself where none, -1 where there is no N-H; int32 (n,).

    Args:
        aatype: Residue types, shape (n,).
        residue_index: Numbers of the residues, shape (n,).
        positions: Of atom37, angstrom, shape (n, 37, 3).
        mask: Which atoms are there, shape (n, 37).
    """
    n, columns = len(aatype), BACKBONE_ATOM37[:4]
    more = -n % _PADDED
    there = np.pad(mask[:, columns].all(axis=1).astype(np.float32), (0, more))
    numbers = np.pad(residue_index.astype(np.int32), (0, more))
    atoms = np.pad(positions[:, columns].astype(np.float32), ((0, more), (0, 0), (0, 0)))
    strongest, gives = _strongest(atoms, np.pad(aatype.astype(np.int32), (0, more)), numbers, there)
    return np.where(np.asarray(gives)[:n] > 0, np.asarray(strongest)[:n], -1).astype(np.int32)


@jax.jit
def _strongest(atoms: jax.Array, aatype: jax.Array, residue_index: jax.Array, there: jax.Array) -> Any:
    sites = hydrogen_bonds.sites(atoms, aatype, residue_index, there)
    return hydrogen_bonds.strongest(sites), sites.gives


def within(bonded: np.ndarray, window: slice) -> np.ndarray:
    """Return `bonded_residues` of a stretch of the chain, counted from its start; -1 too for what lies outside."""
    found = bonded[window] - window.start
    return np.where((bonded[window] >= window.start) & (bonded[window] < window.stop), found, -1).astype(np.int32)


def stack_templates(built: list[tuple[np.ndarray, np.ndarray, np.ndarray]], length: int) -> Arrays:
    """Return the raw template arrays of the given (aatype, positions, mask)."""
    return {
        "template_aatype": np.array([t[0] for t in built], np.int8).reshape(len(built), length),
        "template_positions": np.array([t[1] for t in built], np.float32).reshape(len(built), length, 37, 3),
        "template_mask": np.array([t[2] for t in built], bool).reshape(len(built), length, 37),
    }


def batches(source: ExampleSource, seed: int, start: int, size: int, crops: tuple[int, ...]) -> Iterator[Arrays]:
    """Yield batches from step `start` on; a step's batch depends on seed and step alone."""
    step = start
    while True:
        rng = np.random.default_rng((seed, step))
        crop = crops[step % len(crops)]
        examples = [source.draw(rng, crop) for _ in range(size)]
        yield {name: np.stack([e[name] for e in examples]) for name in examples[0]}
        step += 1
