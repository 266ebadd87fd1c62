"""From the same alignment, templates and random choices, every array is the published pipeline's."""

import dataclasses

import numpy as np
import pytest

from models import alphafold, inputs
from models.config import PRESETS
from models.residue_constants import ATOM37_MASK
from pipeline.a3m import encode, parse_a3m, read_a3m
from pipeline.fasta import Target
from pipeline.featurize.raw import Settings, featurize
from pipeline.templates import TemplateHits

CLUSTERS, EXTRA, TEMPLATES = 13, 19, 4
LETTERS = "ACDEFGHIKLMNPQRSTVWYXBZUJO"
NO_HITS = TemplateHits({}, ())
ITERATIONS = 4


def random_a3m(rows, length=41, seed=9):
    """Return an alignment of different rows with gaps, insertions, X and the rarer letters."""
    rng = np.random.default_rng(seed)
    query = rng.choice(list(LETTERS[:21]), length)
    text = [">query", "".join(query)]
    for i in range(1, rows):
        row = np.where(rng.random(length) < 0.5, query, rng.choice(list(LETTERS + "---"), length))
        inserted = ["".join(rng.choice(list(LETTERS.lower()), rng.integers(1, 30))) for _ in range(length)]
        has = rng.random(length) < 0.08
        text += [f">row{i}", "".join(a + b if there else a for a, b, there in zip(row, inserted, has, strict=True))]
    return "\n".join(text) + "\n"


def random_templates(query, count, seed=4):
    """Return templates as our raw features hold them."""
    rng = np.random.default_rng(seed)
    aatype = np.where(rng.random((count, len(query))) < 0.6, query, rng.integers(0, 20, (count, len(query))))
    mask = ATOM37_MASK[aatype] * (rng.random((count, len(query), 1)) < 0.8)
    positions = rng.normal(size=(*mask.shape, 3), scale=9.0) * mask[..., None]
    return {"template_aatype": aatype, "template_positions": positions, "template_mask": mask}


def published_raw(text, templates):
    """Return the published pipeline's raw features of an alignment and of our templates."""
    from alphafold.data import parsers, pipeline  # noqa: PLC0415 - not everywhere installed

    msa = parsers.parse_a3m(text)
    query = msa.sequences[0]
    raw = pipeline.make_sequence_features(query, "query", len(query)) | pipeline.make_msa_features([msa])
    to_hhblits = np.argsort(inputs.HHBLITS_TO_AATYPE[:22])
    count = len(templates["template_aatype"])
    return raw | {
        "template_aatype": np.eye(22, dtype=np.float32)[to_hhblits[templates["template_aatype"]]],
        "template_all_atom_positions": templates["template_positions"].astype(np.float32),
        "template_all_atom_masks": templates["template_mask"].astype(np.float32),
        "template_sum_probs": np.ones((count, 1), np.float32),
        "template_domain_names": np.array([b"1abc_A"] * count, object),
    }


def published_inputs(name, raw, seed):
    """Return the published pipeline's processed features, with its own random choices."""
    from alphafold.model import config, features  # noqa: PLC0415

    settings = config.model_config(name)
    rows = TEMPLATES if settings.data.common.reduce_msa_clusters_by_max_templates else 0
    settings.data.eval.max_msa_clusters = CLUSTERS + rows
    settings.data.common.max_extra_msa = EXTRA
    return features.np_example_to_features(raw, settings, seed)


def preset(name, clusters=CLUSTERS, extra=EXTRA):
    """Return one of our networks with smaller inputs."""
    config = PRESETS[name]
    rows = config.input.max_templates if config.input.reserve_template_rows else 0
    sizes = dataclasses.replace(config.input, max_msa_clusters=clusters + rows, max_extra_msa=extra)
    return dataclasses.replace(config, input=sizes)


def choices_of(processed, i, msa, deletions):
    """Return the random choices that led from the rows of an alignment to one iteration's features."""
    left = list(range(len(msa)))  # rows that are equal in letters and places of insertions may stand for one another

    def row_of(letters, has_deletion):
        same = (k for k in left if (msa[k] == letters).all() and ((deletions[k] > 0) == has_deletion).all())
        left.remove(k := next(same))
        return k

    def rows(name, has_deletion, mask):
        count = int(processed[mask][i].any(axis=-1).sum())
        return [row_of(*row) for row in zip(processed[name][i][:count], has_deletion[i][:count] > 0, strict=True)]

    clusters = rows("true_msa", processed["msa_feat"][..., 23], "msa_mask")
    rest = list(left)
    kept = rows("extra_msa", processed["extra_has_deletion"], "extra_msa_mask")
    hidden = processed["msa_feat"][i, : len(clusters), :, :23].argmax(axis=-1)
    masked = processed["bert_mask"][i, : len(clusters)] > 0
    extra_order = [rest.index(k) for k in [*kept, *left]]
    return inputs.Choices(np.array([*clusters[1:], *rest], int), masked, hidden, np.array(extra_order, int))


def same_choices(processed, raw, config):
    """Return our inputs of all iterations with the random choices of processed features."""
    msa = inputs.HHBLITS_TO_AATYPE[raw["msa"]]
    made = inputs.make_inputs(raw, config.input, np.random.default_rng(0), ITERATIONS)
    samples = [
        inputs.msa_inputs(
            msa, raw["deletion_matrix"], config.input, choices_of(processed, i, msa, raw["deletion_matrix"])
        )
        for i in range(ITERATIONS)
    ]
    made |= {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
    sizes = inputs.full_sizes(config.input, len(raw["aatype"]))
    return inputs.pad_inputs(made, config, sizes)


def assert_same(found, expected, config):
    names = set(alphafold.example_batch(config, len(expected["aatype"][0]))) | {"bert_mask", "true_msa"}
    for name in sorted(names):
        a = np.broadcast_to(expected[name], (ITERATIONS, *expected[name].shape[1:]))
        if a.dtype.kind == "i" or name.endswith(("mask", "masks")):
            np.testing.assert_array_equal(found[name], a, err_msg=name)
        else:
            np.testing.assert_allclose(found[name], a, rtol=0, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", ["model_1", "model_2_ptm", "model_3_ptm", "model_5"])
@pytest.mark.parametrize(("rows", "templates"), [(60, 4), (21, 6), (9, 2), (1, 1)])
def test_features(parity, name, rows, templates):
    """All clusters, extra rows and templates full; fewer extra rows; fewer clusters; a single sequence."""
    text = random_a3m(rows)
    alignment = parse_a3m(text, "random")
    features = featurize(Target.monomer("q", "q", alignment.query), alignment, NO_HITS, None, Settings())
    raw = {**dataclasses.asdict(features), **random_templates(features.aatype, templates)}
    config = preset(name)
    published = published_inputs(name, published_raw(text, raw), seed=rows)
    assert_same(same_choices(published, raw, config), published, config)


@pytest.mark.parametrize("rows", [60, 1])
def test_alignment(parity, rows):
    text = random_a3m(rows)
    msa, deletions = encode(parse_a3m(text, "random"))
    published = published_raw(text, random_templates(np.zeros(41, int), 1))
    np.testing.assert_array_equal(msa, published["msa"])
    np.testing.assert_array_equal(deletions, published["deletion_matrix_int"])


GOLDEN = [("C37t", "model_1_ptm", 12, 24), ("E64n", "model_3_ptm", 32, 64)]


@pytest.mark.parametrize("case", [row[0] for row in GOLDEN])
def test_golden_raw_features(shared, case):
    folder = shared / "parity" / "features"
    msa, deletions = encode(read_a3m(folder / f"{case}.a3m"))
    expected = np.load(folder / f"{case}.raw.npz")
    np.testing.assert_array_equal(msa, expected["msa"])
    np.testing.assert_array_equal(deletions, expected["deletion_matrix_int"])


@pytest.mark.parametrize(("case", "name", "clusters", "extra"), GOLDEN)
def test_golden_features(shared, case, name, clusters, extra):
    stored = np.load(shared / "parity" / "features" / f"{case}.raw.npz")
    raw = {
        "aatype": stored["aatype"].argmax(axis=1),
        "residue_index": stored["residue_index"],
        "msa": stored["msa"].astype(np.int8),
        "deletion_matrix": stored["deletion_matrix_int"].astype(np.int16),
    }
    if "template_aatype" in stored:
        raw |= {
            "template_aatype": inputs.HHBLITS_TO_AATYPE[stored["template_aatype"].argmax(axis=-1)],
            "template_positions": stored["template_all_atom_positions"],
            "template_mask": stored["template_all_atom_masks"],
        }
    expected = np.load(shared / "parity" / "cases" / f"{case}.feat.npz")
    processed = {key: np.broadcast_to(x, (ITERATIONS, *x.shape[1:])) for key, x in expected.items()}
    config = preset(name, clusters, extra)
    assert_same(same_choices(processed, raw, config), processed, config)
