"""Parameter files: names and shapes of the published models, round trips, and every error."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from models import params
from models.config import PRESETS, shared_program

PUBLISHED = json.loads((Path(__file__).parent / "golden" / "parameters_model_1_ptm.json").read_text())


def published(name):
    """Return the published names and shapes of a model, from those of model_1_ptm, the largest."""
    without = ([] if "ptm" in name else ["predicted_aligned_error"]) + ([] if name[6] in "12" else ["/template_"])
    return {key: tuple(shape) for key, shape in PUBLISHED.items() if not any(part in key for part in without)}


@pytest.mark.parametrize("name", ["model_1", "model_1_ptm", "model_3_ptm"])
def test_names_and_shapes_are_the_published_ones(name):
    assert params.shapes(PRESETS[name]) == published(name)


@pytest.mark.parametrize("name", ["model_1", "model_1_ptm", "model_3_ptm"])
def test_published_names_agree_with_the_reference(name, shared):
    spec = json.loads((shared / "parity" / "params" / f"spec_{name}.json").read_text())
    assert {key: tuple(shape) for key, shape in spec} == published(name)


@pytest.fixture(scope="module")
def config(network_tests):
    return network_tests.tiny(PRESETS["mini"])


@pytest.fixture(scope="module")
def arrays(config):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in params.shapes(config).items()}


def some(arrays, word):
    return next(name for name in sorted(arrays) if word in name)


def test_round_trip(tmp_path, config, arrays):
    path = tmp_path / "folder" / "weights.npz"
    params.save(path, params.nested(arrays), config, {"licence": "CC0", "training_sha256": "ab"})
    found = params.flat(params.load(path, config))
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    about = params.read_metadata(path)
    assert (about["format"], about["licence"], about["config"]["name"]) == (params.FORMAT, "CC0", "mini")
    assert [p.name for p in path.parent.iterdir()] == ["weights.npz"]


def test_half_precision_is_read_as_single(tmp_path, config, arrays):
    path = tmp_path / "weights.npz"
    params.save(path, params.nested(arrays), config, {}, half=True)
    for name, array in params.flat(params.load(path, config)).items():
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, arrays[name], rtol=1e-3, atol=1e-6)


def test_published_files_need_no_metadata(tmp_path, config, arrays):
    np.savez(tmp_path / "params.npz", **arrays)
    params.load(tmp_path / "params.npz", config)
    assert params.read_metadata(tmp_path / "params.npz") == {}


def fused(arrays):
    """Return parameters as AlphaFold's code from 2.3 on fuses them."""
    result = dict(arrays)
    for name in arrays:
        scope, _, leaf = name.partition("//")
        module, _, part = scope.rpartition("/")
        if "/triangle_multiplication_" not in module:
            continue
        if part in ("left_projection", "left_gate"):
            right = result.pop(f"{module}/{part.replace('left', 'right')}//{leaf}")
            result[f"{module}/{part[5:]}//{leaf}"] = np.concatenate([result.pop(name), right], -1)
        elif part in ("layer_norm_input", "center_layer_norm"):
            other = {"layer_norm_input": "left_norm_input", "center_layer_norm": "center_norm"}[part]
            result[f"{module}/{other}//{leaf}"] = result.pop(name)
    return result


def test_the_fused_layout_loads_too(tmp_path, config, arrays):
    np.savez(tmp_path / "params.npz", **fused(arrays))
    assert len(fused(arrays)) < len(arrays)
    found = params.flat(params.load(tmp_path / "params.npz", config))
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


def test_the_fused_layout_is_that_of_the_reference(arrays):
    """The published package does the same; it is installed for comparisons only."""
    utils = pytest.importorskip("alphafold.model.utils", reason="the package alphafold-colabfold is not installed")
    theirs = params.flat(utils.flat_params_to_haiku(arrays, fuse=True, to_jnp=False))
    ours = fused(arrays)
    assert theirs.keys() == ours.keys()
    assert all(np.array_equal(theirs[name], ours[name]) for name in ours)


def test_what_does_not_fit_is_named(tmp_path, config, arrays):
    missing, wrong = some(arrays, "preprocess_1d"), some(arrays, "left_single")
    other = {name: array for name, array in arrays.items() if name != missing}
    other |= {wrong: arrays[wrong][..., :-1], "alphafold/elsewhere//weights": np.zeros(3, np.float32)}
    np.savez(tmp_path / "params.npz", **other)
    pattern = (
        rf"params.npz: 1 missing: {missing}; 1 unexpected: alphafold/elsewhere//weights; 1 of wrong shape: {wrong}"
    )
    with pytest.raises(params.ParameterFileError, match=pattern) as caught:
        params.load(tmp_path / "params.npz", config)
    error = caught.value
    assert error.missing == (missing,)
    assert error.unexpected == ("alphafold/elsewhere//weights",)
    assert error.wrong_shape == {wrong: (arrays[wrong].shape, arrays[wrong][..., :-1].shape)}


def test_a_fused_array_of_odd_size_is_named(tmp_path, config, arrays):
    other = fused(arrays)
    name = some(other, "outgoing/projection//bias")
    np.savez(tmp_path / "params.npz", **(other | {name: other[name][..., 1:]}))
    with pytest.raises(params.ParameterFileError, match=r"1 of wrong shape: .*outgoing/left_projection//bias"):
        params.load(tmp_path / "params.npz", config)


def test_long_lists_are_cut(tmp_path, config, arrays):
    np.savez(tmp_path / "params.npz", **{some(arrays, "left_single"): np.zeros(3)})
    with pytest.raises(params.ParameterFileError, match=rf"{len(arrays) - 1} missing: .* and {len(arrays) - 4} more"):
        params.load(tmp_path / "params.npz", config)


def test_another_configuration_of_the_same_shapes(tmp_path, config, arrays):
    path = tmp_path / "weights.npz"
    deeper = dataclasses.replace(config, structure=dataclasses.replace(config.structure, layers=3), recycles=9)
    params.save(path, params.nested(arrays), deeper, {})
    with pytest.raises(
        params.ParameterFileError, match=r"another configuration: structure\.layers expected 2, found 3"
    ):
        params.load(path, config)


def test_dropout_and_what_only_one_side_knows_may_differ(tmp_path, config, arrays):
    path = tmp_path / "weights.npz"
    stored = dataclasses.asdict(config)
    stored["structure"]["dropout"] = 0.9
    del stored["structure"]["layers"]
    stored["heads"]["of_another_version"] = 3
    np.savez(path, metadata=json.dumps({"format": params.FORMAT, "config": stored}), **arrays)
    assert params.flat(params.load(path, config)).keys() == arrays.keys()


def write(path, kind):
    {
        "text": lambda: path.write_text("no archive"),
        "empty": lambda: path.write_bytes(b""),
        "folder": path.mkdir,
        "one array": lambda: np.save(path.open("wb"), np.zeros(3)),
        "pickle": lambda: np.savez(path, **{"a//b": np.array([{}], object)}),
        "integers": lambda: np.savez(path, **{"a//b": np.zeros(3, int)}),
        "names": lambda: np.savez(path, weights=np.zeros(3)),
        "no json": lambda: np.savez(path, metadata=np.array("{")),
        "format": lambda: np.savez(path, metadata=np.array('{"format": "foldline.parameters/0"}')),
        "list": lambda: np.savez(path, metadata=np.array("[]")),
        "missing": lambda: None,
    }[kind]()


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "expected a parameter file: there is none"),
        ("folder", "expected a parameter file: there is none"),
        ("text", "expected a NumPy archive"),
        ("empty", "expected a NumPy archive"),
        ("one array", "it holds a single array"),
        ("pickle", "expected a NumPy archive.*Object arrays cannot be loaded"),
        ("integers", "expected real arrays named scope//name: found 'a//b', int64"),
        ("names", "expected real arrays named scope//name: found 'weights', float64"),
        ("no json", "its metadata is no JSON"),
        ("format", "expected format 'foldline.parameters/1', found 'foldline.parameters/0'"),
        ("list", "expected format 'foldline.parameters/1', found None"),
    ],
)
def test_damaged_files(tmp_path, config, kind, message):
    path = tmp_path / "weights.npz"
    write(path, kind)
    with pytest.raises(params.ParameterFileError, match=message):
        params.load(path, config)


def test_truncated_file(tmp_path, config, arrays):
    path = tmp_path / "weights.npz"
    params.save(path, params.nested(arrays), config, {})
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(params.ParameterFileError, match="expected a NumPy archive"):
        params.load(path, config)


def test_a_failed_write_leaves_nothing(tmp_path, config):
    with pytest.raises(ValueError, match="could not convert"):
        params.save(tmp_path / "weights.npz", {"a": {"b": "text"}}, config, {})
    assert list(tmp_path.iterdir()) == []


def test_models_share_a_program():
    configs = [PRESETS[f"model_{i}{suffix}"] for suffix in ("", "_ptm") for i in range(1, 6)]
    program = shared_program(configs)
    assert params.shapes(program) == params.shapes(PRESETS["model_1_ptm"])
    assert shared_program(configs[2:3]) is configs[2]
    assert shared_program(configs[2:4]).evoformer.template is None
    with pytest.raises(ValueError, match="variants of one network, got model_1, mini"):
        shared_program([PRESETS["model_1"], PRESETS["mini"]])


def test_widening_adds_zeros_only(network_tests):
    configs = [network_tests.tiny(PRESETS[name]) for name in ("model_1_ptm", "model_3")]
    own = {name: np.ones(shape, np.float32) for name, shape in params.shapes(configs[1]).items()}
    program = shared_program(configs)
    wide = params.flat(params.widen(params.nested(own), program))
    assert {name: array.shape for name, array in wide.items()} == params.shapes(program)
    assert all(wide[name].all() if name in own else not wide[name].any() for name in wide)


def test_shared_parameters_are_those_of_the_same_name_and_shape(tmp_path, config, arrays):
    other, shape, path = some(arrays, "msa_transition"), some(arrays, "triangle"), tmp_path / "w.npz"
    held = {name: array for name, array in arrays.items() if name != other}
    held[shape] = np.zeros((2, 3), np.float32)
    params.save(path, params.nested(held), config, {})
    shared = params.flat(params.load_shared(path, config))
    assert set(shared) == set(arrays) - {other, shape}
    assert all(np.array_equal(array, arrays[name]) for name, array in shared.items())


def test_nothing_shared_is_an_error(tmp_path, config):
    params.save(tmp_path / "w.npz", params.nested({"elsewhere//weights": np.zeros(3, np.float32)}), config, {})
    with pytest.raises(params.ParameterFileError, match="none fits"):
        params.load_shared(tmp_path / "w.npz", config)
