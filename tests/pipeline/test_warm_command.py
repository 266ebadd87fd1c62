"""`foldline warm`: after it a prediction compiles nothing; the cache belongs to a version and a device."""

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from models import params
from models.config import PRESETS
from models.inputs import Sizes
from pipeline import warm_command as warm
from pipeline.cli import main
from pipeline.features import RawFeatures
from pipeline.predict import compiled
from pipeline.predict.network import Predictor
from pipeline.predict.records import Run
from pipeline.predict.settings import Settings

LENGTH, ROWS, SEED = 29, 5, 1
OPTIONS = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


@pytest.fixture
def cache(tmp_path):
    """Use an empty cache of compiled programs, as a fresh process does; return its folder."""
    before = {name: getattr(jax.config, name) for name in OPTIONS}
    reset_cache()
    jax.clear_caches()
    yield tmp_path / "cache"
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()


@pytest.fixture
def smallest_network(smallest, monkeypatch):
    monkeypatch.setitem(PRESETS, "smallest", smallest)
    return smallest


def features(length, rows=ROWS, templates=0):
    rng = np.random.default_rng(SEED)
    return RawFeatures(
        name="one",
        aatype=rng.integers(0, 20, length).astype(np.int32),
        residue_index=np.arange(length, dtype=np.int32),
        msa=rng.integers(0, 22, (rows, length)).astype(np.int8),
        deletion_matrix=np.zeros((rows, length), np.int16),
        template_aatype=np.zeros((templates, length), np.int8),
        template_positions=np.ones((templates, length, 37, 3), np.float32),
        template_mask=np.ones((templates, length, 37), bool),
        template_sum_probs=np.ones(templates, np.float32),
        template_ids=tuple(f"T{n}" for n in range(templates)),
    )


def parameters(config):
    rng = np.random.default_rng(SEED)
    shapes = params.shapes(config)
    return params.nested({name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()})


def compilations(predictor, config, made, folder):
    """Predict as a fresh process would; return how many programs were compiled, as the cache keeps every one."""
    predictor.hold(config.name, parameters(config))
    reset_cache()
    jax.clear_caches()
    before = compiled.kept(folder)
    predictor.predict(made, Run(config.name, 0), 32)
    return compiled.kept(folder) - before


def test_after_warming_a_prediction_compiles_nothing(cache, smallest_network):
    settings = Settings(model="smallest", dropout=True)
    folder = compiled.use_compilation_cache(cache)
    (warmed,) = warm.warm(Predictor(settings), warm.sizes_of(settings, [32], [1]), folder)
    assert warmed.compiled
    assert warmed.memory > 0
    assert compilations(Predictor(settings), smallest_network, features(LENGTH), folder) == 0


def test_models_with_templates_and_extra_rows(cache, narrow, monkeypatch):
    model = narrow["model_1_ptm"]
    monkeypatch.setitem(PRESETS, model.name, model)
    settings = Settings(model=model.name, recycles=0)
    folder = compiled.use_compilation_cache(cache)
    warm.warm(Predictor(settings), warm.sizes_of(settings, [32], [1000]), folder)
    assert compilations(Predictor(settings), model, features(LENGTH, 300, templates=2), folder) == 0


def test_the_command(cache, smallest_network, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["warm", "--lengths", "20", "29", "--config", "small.yaml", "--compilation-cache", str(cache)]
    (tmp_path / "small.yaml").write_text("predict:\n  recycles: 0\n")
    monkeypatch.setattr(warm, "from_section", lambda section: Settings(model="smallest", recycles=section["recycles"]))
    assert main(words) == 0
    first = capsys.readouterr().out.splitlines()
    assert (len(first), first[1].split()[:4]) == (2, ["32", "1", "0", "compiled"])
    assert main(words) == 0
    assert "was there" in capsys.readouterr().out
    assert list(cache.iterdir()) == [cache / compiled.device_key()]


def test_the_buckets_are_those_of_the_plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.fasta").write_text(">a\nMKTAYIAKQRQISFVK\n>b\n" + "MKTAYIAKQRQISFVK" * 40 + "\n")
    config = warm.effective_config(warm.parser().parse_args(["in.fasta"]))
    assert warm.buckets_of(config) == {32, 640}


def test_shallow_alignments_have_programs_of_their_own():
    settings = Settings(model="model_1")
    assert warm.sizes_of(settings, [64], [10**6]) == [Sizes(64, 508, 5120, 4)]
    assert len(warm.sizes_of(settings, [64, 96], [1, 10**6, 10**7])) == 4


def test_processors_with_other_instructions_have_other_caches(tmp_path):
    for name, flags in (("a", "sse avx"), ("b", "avx sse"), ("c", "sse avx avx512f")):
        (tmp_path / name).write_text(f"processor : 0\nflags\t\t: {flags}\n", encoding="utf-8")
    a, b, c = (compiled.instructions(tmp_path / name) for name in "abc")
    assert a == b != c
    assert compiled.instructions(tmp_path / "none") == ""
