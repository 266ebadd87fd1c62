"""Turn raw features into what the network reads: AlphaFold 2's row sampling, masking, clustering and padding, in NumPy.

Nothing here depends on JAX. Randomness comes from a Generator, or from `Choices` where a test fixes it.

Source: Jumper et al. 2021, Supplementary Information, sections 1.2.5 to 1.2.9.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from models import coevolution
from models.config import InputConfig, ModelConfig
from models.residue_constants import ATOM37_ID, GAP, HHBLITS_TO_RESTYPE, MASK_TOKEN, RESTYPE_ID

Arrays = dict[str, NDArray]

HHBLITS_TO_AATYPE = HHBLITS_TO_RESTYPE.astype(np.int8)
"""AlphaFold's residue type of each raw MSA id."""

MSA_CLASSES = MASK_TOKEN + 1
_UNMASKED_CLASSES = MASK_TOKEN
_AGREEING_CLASSES = GAP  # a shared gap or mask is no agreement
_AMINO_ACIDS = 20
_GLYCINE = RESTYPE_ID["G"]
_CA, _CB = ATOM37_ID["CA"], ATOM37_ID["CB"]

# A hidden position becomes a uniform amino acid, a draw from the profile, itself, or the mask (section 1.2.7).
_UNIFORM_SHARE, _PROFILE_SHARE, _SAME_SHARE = 0.1, 0.1, 0.1
_COUNT_EPSILON = 1e-6
_ROWS_AT_ONCE = 512

_AXES = {
    "aatype": "n",
    "residue_index": "n",
    "seq_mask": "n",
    "target_feat": "n.",
    "msa_feat": "sn.",
    "msa_mask": "sn",
    "bert_mask": "sn",
    "true_msa": "sn",
    "extra_msa": "en",
    "extra_msa_mask": "en",
    "extra_has_deletion": "en",
    "extra_deletion_value": "en",
    "template_aatype": "tn",
    "template_all_atom_positions": "tn..",
    "template_all_atom_masks": "tn.",
    "template_pseudo_beta": "tn.",
    "template_pseudo_beta_mask": "tn",
    "template_mask": "t",
    "couplings": "nn",
}
_INNER_AXES = {
    "template_all_atom_positions": (len(ATOM37_ID), 3),
    "template_all_atom_masks": (len(ATOM37_ID),),
    "template_pseudo_beta": (3,),
}
_INTEGERS = ("extra_msa", "template_aatype")
_FEWEST_ROWS = 16


@dataclasses.dataclass(frozen=True)
class Choices:
    """Everything that is random in one iteration's inputs.

    Args:
        order: Rows of the MSA after the query, in sampled order, shape (rows - 1,).
        masked: Where the clustered MSA is hidden, shape (clusters, n).
        replacement: What stands at a hidden position, AlphaFold ids with the mask 22, shape (clusters, n).
        extra_order: Order of the rows left over by the clusters, counted from the first of them.
    """

    order: NDArray
    masked: NDArray
    replacement: NDArray
    extra_order: NDArray


def make_inputs(
    raw: Mapping[str, NDArray], config: InputConfig, rng: np.random.Generator, iterations: int = 1
) -> Arrays:
    """Return the network's inputs of each recycling iteration, every iteration with its own sample of the MSA.

    Args:
        raw: Arrays of `pipeline.features.RawFeatures`: `aatype` (n,), `residue_index` (n,), `msa` (rows, n) in HHblits
            ids, `deletion_matrix` (rows, n), and where the network reads templates `template_aatype` (t, n),
            `template_positions` (t, n, 37, 3) in angstrom and `template_mask` (t, n, 37). `couplings` (n, n) may stand
            for what `models.coevolution` would find in the alignment.
        config: Sizes of the network's inputs.
        rng: Source of all choices.
        iterations: Recycles + 1.

    Returns:
        Arrays with a leading axis of `iterations`; rows are as many as there are, not padded.
    """
    if iterations < 1:
        raise ValueError(f"expected at least one iteration, got {iterations}")
    msa = HHBLITS_TO_AATYPE[raw["msa"]]
    profile = msa_profile(msa)
    constant = _sequence_inputs(raw)
    if config.max_templates:
        constant |= template_inputs(raw, config.max_templates)
    if config.couplings:
        constant["couplings"] = raw["couplings"] if "couplings" in raw else coevolution.couplings(msa)
    if config.deterministic:
        sampled = [msa_inputs(msa, raw["deletion_matrix"], config, _first_choices(msa))]
    else:
        draws = (draw_choices(msa, profile, config, rng) for _ in range(iterations))
        sampled = [msa_inputs(msa, raw["deletion_matrix"], config, choices) for choices in draws]
    inputs = {name: _repeat(array[None], iterations) for name, array in constant.items()}
    for name in sampled[0]:
        inputs[name] = _repeat(np.stack([sample[name] for sample in sampled]), iterations)
    return inputs


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes that inputs are padded to; each combination is a compiled program of its own.

    Args:
        length: Residues.
        clusters: Rows of the clustered MSA, without those that the network makes of templates.
        extra: Rows of the extra MSA.
        templates: Templates.
    """

    length: int
    clusters: int
    extra: int
    templates: int


def full_sizes(config: InputConfig, length: int) -> Sizes:
    """Return the sizes of a network's inputs from an alignment with rows enough."""
    return Sizes(length, config.sequences, config.max_extra_msa, config.max_templates)


def sizes_for(rows: int, length: int, configs: Sequence[InputConfig]) -> Sizes:
    """Return sizes that hold the inputs of several networks for one alignment.

    Below the networks' own numbers rows are rounded up to few sizes: a shallow alignment does not pay for a deep one,
    and few programs are compiled.

    Args:
        rows: Rows of the alignment.
        length: Residues, padded.
        configs: Sizes of the networks' inputs.
    """
    clusters = max(c.sequences for c in configs)
    extra = max(c.max_extra_msa for c in configs)
    left = max(min(rows - c.sequences, c.max_extra_msa) for c in configs)
    templates = max(c.max_templates for c in configs)
    return Sizes(length, _row_size(min(rows, clusters), clusters), _row_size(left, extra), templates)


def pad_inputs(inputs: Mapping[str, NDArray], config: ModelConfig, sizes: Sizes) -> Arrays:
    """Return inputs padded with zeros, so that masks stay true.

    Args:
        inputs: One sample's inputs, or those of several with a leading axis.
        config: The network; an extra MSA, templates and couplings that it reads and the inputs lack are all padding.
        sizes: What to pad to.

    Raises:
        ValueError: The inputs are larger than the sizes given.
    """
    numbers = {"n": sizes.length, "s": sizes.clusters, "e": sizes.extra, "t": sizes.templates}
    trunk, leading = config.evoformer, inputs["aatype"].shape[:-1]
    read = {"e": trunk.extra_msa is not None, "t": trunk.template is not None, "nn": trunk.couplings}
    wanted = {name: axes for name, axes in _AXES.items() if read.get(axes, read.get(axes[0]))}
    absent = {name: axes for name, axes in wanted.items() if name not in inputs}
    padded = {name: _pad(name, array, numbers) for name, array in inputs.items()}
    for name, axes in absent.items():
        inner = _INNER_AXES.get(name, ())
        shape = (*leading, *(numbers[axis] for axis in axes.rstrip(".")), *inner)
        padded[name] = np.zeros(shape, np.int32 if name in _INTEGERS else np.float32)
    return padded


def msa_profile(msa: NDArray) -> NDArray:
    """Return the share of each of the 22 classes (AlphaFold ids, gap last) in each column, shape (n, 22)."""
    counts = _letter_counts(msa, np.zeros(len(msa), dtype=np.int64), 1)[0, :, :_UNMASKED_CLASSES]
    return (counts / len(msa)).astype(np.float32)


def draw_choices(msa: NDArray, profile: NDArray, config: InputConfig, rng: np.random.Generator) -> Choices:
    """Draw the order of the rows and the hidden positions of one iteration (sections 1.2.6 and 1.2.7).

    Args:
        msa: AlphaFold ids, shape (rows, n).
        profile: `msa_profile(msa)`.
        config: Sizes of the network's inputs.
        rng: Source of the choices.
    """
    order = 1 + rng.permutation(len(msa) - 1)
    centres = msa[_rows_in_order(order)[: config.sequences]]
    masked = rng.random(centres.shape, dtype=np.float32) < config.masked_msa_fraction
    replacement = centres.copy()
    replacement[masked] = _draw_replacements(centres, profile, masked, rng)
    return Choices(order, masked, replacement, rng.permutation(len(msa) - len(centres)))


def msa_inputs(msa: NDArray, deletions: NDArray, config: InputConfig, choices: Choices) -> Arrays:
    """Return the clustered MSA and, where the network reads it, the extra MSA of one iteration.

    Args:
        msa: AlphaFold ids, shape (rows, n).
        deletions: Residues deleted before each position, shape (rows, n).
        config: Sizes of the network's inputs.
        choices: Order of the rows and hidden positions.
    """
    rows = _rows_in_order(choices.order)
    clusters, rest = rows[: config.sequences], rows[config.sequences :]
    true_msa = msa[clusters]
    hidden = np.where(choices.masked, choices.replacement, true_msa)
    extra_msa, extra_deletions = msa[rest], deletions[rest]
    assignment = nearest_cluster(hidden, extra_msa)
    profile, deletion_mean = summarise_clusters(hidden, deletions[clusters], extra_msa, extra_deletions, assignment)
    inputs = {
        "msa_feat": _msa_feat(hidden, deletions[clusters], profile, deletion_mean),
        "msa_mask": np.ones(hidden.shape, dtype=np.float32),
        "bert_mask": choices.masked.astype(np.float32),
        "true_msa": true_msa.astype(np.int32),
    }
    if config.max_extra_msa:
        kept = choices.extra_order[: config.max_extra_msa]  # after clustering: dropped rows still shape the profiles
        inputs |= _extra_inputs(extra_msa[kept], extra_deletions[kept])
    return inputs


def nearest_cluster(centres: NDArray, members: NDArray) -> NDArray:
    """Return for each member row the centre that agrees with it at most positions, the first of equals.

    Args:
        centres: Masked cluster rows, shape (clusters, n).
        members: All other rows, shape (members, n).

    Returns:
        Indices into `centres`, shape (members,).
    """
    if len(centres) == 1:
        return np.zeros(len(members), dtype=np.int64)
    weights = _one_hot(centres, _AGREEING_CLASSES).reshape(len(centres), -1).T
    nearest = np.empty(len(members), dtype=np.int64)
    for start in range(0, len(members), _ROWS_AT_ONCE):
        chunk = members[start : start + _ROWS_AT_ONCE]
        agreement = _one_hot(chunk, _AGREEING_CLASSES).reshape(len(chunk), -1) @ weights
        nearest[start : start + len(chunk)] = agreement.argmax(axis=1)
    return nearest


def summarise_clusters(
    centres: NDArray, centre_deletions: NDArray, members: NDArray, member_deletions: NDArray, assignment: NDArray
) -> tuple[NDArray, NDArray]:
    """Return each cluster's profile and mean deletion count, its centre included.

    Args:
        centres: Masked cluster rows, shape (clusters, n).
        centre_deletions: Their deletion counts.
        members: All other rows, shape (members, n).
        member_deletions: Their deletion counts.
        assignment: Cluster of each member.

    Returns:
        Profile (clusters, n, 23) and deletion mean (clusters, n).
    """
    count = len(centres)
    size = _COUNT_EPSILON + 1.0 + np.bincount(assignment, minlength=count).astype(np.float32)
    profile = _one_hot(centres, MSA_CLASSES)
    profile += _letter_counts(members, assignment, count)
    deletion_sum = centre_deletions.astype(np.float32)
    if count == 1:
        deletion_sum += member_deletions.sum(axis=0, dtype=np.float32)
    else:
        np.add.at(deletion_sum, assignment, member_deletions.astype(np.float32))
    profile /= size[:, None, None].astype(np.float32)
    return profile, deletion_sum / size[:, None].astype(np.float32)


def template_inputs(raw: Mapping[str, NDArray], max_templates: int) -> Arrays:
    """Return the first templates with their pseudo-beta positions: CB, or CA of glycine.

    Args:
        raw: See `make_inputs`.
        max_templates: Templates to keep.
    """
    aatype = raw["template_aatype"][:max_templates].astype(np.int32)
    positions = raw["template_positions"][:max_templates].astype(np.float32)
    mask = raw["template_mask"][:max_templates].astype(np.float32)
    is_glycine = aatype == _GLYCINE
    return {
        "template_aatype": aatype,
        "template_all_atom_positions": positions,
        "template_all_atom_masks": mask,
        "template_pseudo_beta": np.where(is_glycine[..., None], positions[..., _CA, :], positions[..., _CB, :]),
        "template_pseudo_beta_mask": np.where(is_glycine, mask[..., _CA], mask[..., _CB]),
        "template_mask": np.ones(len(aatype), dtype=np.float32),
    }


def _sequence_inputs(raw: Mapping[str, NDArray]) -> Arrays:
    aatype = raw["aatype"].astype(np.int32)
    between_chains = np.zeros((len(aatype), 1), dtype=np.float32)  # a monomer has no break between segments
    return {
        "aatype": aatype,
        "residue_index": raw["residue_index"].astype(np.int32),
        "seq_mask": np.ones(len(aatype), dtype=np.float32),
        "target_feat": np.concatenate([between_chains, _one_hot(aatype, _AGREEING_CLASSES)], axis=1),
    }


def _msa_feat(msa: NDArray, deletions: NDArray, profile: NDArray, deletion_mean: NDArray) -> NDArray:
    own = [_one_hot(msa, MSA_CLASSES), _has_deletion(deletions)[..., None], _deletion_value(deletions)[..., None]]
    return np.concatenate([*own, profile, _deletion_value(deletion_mean)[..., None]], axis=-1)


def _extra_inputs(msa: NDArray, deletions: NDArray) -> Arrays:
    return {
        "extra_msa": msa.astype(np.int32),
        "extra_msa_mask": np.ones(msa.shape, dtype=np.float32),
        "extra_has_deletion": _has_deletion(deletions),
        "extra_deletion_value": _deletion_value(deletions),
    }


def _has_deletion(deletions: NDArray) -> NDArray:
    return np.clip(deletions, 0, 1).astype(np.float32)


def _deletion_value(deletions: NDArray) -> NDArray:
    return np.arctan(deletions.astype(np.float32) / 3.0) * np.float32(2.0 / np.pi)


def _draw_replacements(centres: NDArray, profile: NDArray, masked: NDArray, rng: np.random.Generator) -> NDArray:
    """Draw one class for each hidden position, in the order of `centres[masked]`."""
    columns = np.nonzero(masked)[1]
    probability = np.zeros((len(columns), MSA_CLASSES), dtype=np.float64)
    probability[:, :_AMINO_ACIDS] = _UNIFORM_SHARE / _AMINO_ACIDS
    probability[:, :_UNMASKED_CLASSES] += _PROFILE_SHARE * profile[columns]
    probability[np.arange(len(columns)), centres[masked]] += _SAME_SHARE
    probability[:, MASK_TOKEN] = 1.0 - _UNIFORM_SHARE - _PROFILE_SHARE - _SAME_SHARE
    cumulative = probability.cumsum(axis=1)
    drawn = rng.random(len(columns))[:, None] * cumulative[:, -1:]
    return (cumulative <= drawn).sum(axis=1).astype(centres.dtype)


def _letter_counts(msa: NDArray, assignment: NDArray, clusters: int) -> NDArray:
    """Count the letters of each cluster's members in each column, shape (clusters, n, 23)."""
    length = msa.shape[1]
    counts = np.zeros(clusters * length * MSA_CLASSES, dtype=np.float32)
    columns = np.arange(length) * MSA_CLASSES
    for start in range(0, len(msa), _rows_per_count(clusters)):
        part = slice(start, start + _rows_per_count(clusters))
        bins = (assignment[part, None] * (length * MSA_CLASSES) + columns) + msa[part]
        counts += np.bincount(bins.ravel(), minlength=len(counts))
    return counts.reshape(clusters, length, MSA_CLASSES)


def _rows_per_count(clusters: int) -> int:
    return max(_ROWS_AT_ONCE, 8 * clusters)  # enough rows that filling the table of counts does not dominate


def _one_hot(ids: NDArray, classes: int) -> NDArray:
    """One-hot code with float32 rows; ids from `classes` on become zero rows."""
    table = np.eye(MSA_CLASSES, classes, dtype=np.float32)
    return table[ids]


def _rows_in_order(order: NDArray) -> NDArray:
    return np.concatenate([[0], order]).astype(np.int64)


def _row_size(rows: int, most: int) -> int:
    """Return a power of two that holds so many rows, or the most."""
    size = _FEWEST_ROWS
    while size < rows:
        size *= 2
    return min(size, most)


def _first_choices(msa: NDArray) -> Choices:
    nothing_masked = np.zeros((1, msa.shape[1]), dtype=bool)
    return Choices(np.arange(1, len(msa)), nothing_masked, msa[:1], np.arange(len(msa) - 1))


def _repeat(array: NDArray, iterations: int) -> NDArray:
    return np.broadcast_to(array, (iterations, *array.shape[1:]))


def _pad(name: str, array: NDArray, sizes: Mapping[str, int]) -> NDArray:
    axes = _AXES[name]
    leading = array.ndim - len(axes)
    padding = [(0, 0)] * leading
    for axis, size in zip(axes, array.shape[leading:], strict=True):
        missing = sizes.get(axis, size) - size
        if missing < 0:
            raise ValueError(f"{name} has {size} along axis {axis!r}, more than the {sizes[axis]} to pad to")
        padding.append((0, missing))
    return np.pad(array, padding)
