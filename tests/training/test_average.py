"""Averaging weights: the mean of each array, and where it comes from."""

from pathlib import Path

import numpy as np
import pytest

from models import params
from models.config import PRESETS
from pipeline.errors import RecordError
from training import average


@pytest.fixture(autouse=True)
def _preset(smallest, monkeypatch):
    monkeypatch.setitem(PRESETS, "smallest", smallest)


def written(path, config, seed, chains="ab"):
    rng = np.random.default_rng(seed)
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in params.shapes(config).items()}
    about = {"step": seed, "training_list_sha256": chains, "settings": {"seed": seed, "validation_chains": 96}}
    said = {"source": f"source {seed}", "licence": "Apache-2.0", "training": about}
    params.save(path, params.nested(arrays), config, said)
    return arrays


def test_each_array_is_the_mean(tmp_path, smallest):
    files = [tmp_path / f"{seed}.npz" for seed in (1, 2, 3)]
    parts = [written(path, smallest, seed) for seed, path in enumerate(files, start=1)]
    output = tmp_path / "mean.npz"
    assert average.main([*map(str, files), "--model", "smallest", "--output", str(output)]) == 0
    found = params.flat(params.load(output, smallest))
    for name, array in found.items():
        expected = np.mean([part[name] for part in parts], axis=0)
        np.testing.assert_allclose(array, expected, rtol=1e-3, atol=1e-4)  # half precision
    said = params.read_metadata(output)
    assert (said["source"], said["licence"]) == ("mean of: source 1; source 2; source 3", "Apache-2.0")
    about = said["training"]
    assert about["training_list_sha256"] == "ab"
    assert about["settings"] == {"validation_chains": 96}  # what all have
    assert [one["step"] for one in about["mean_of"]] == [1, 2, 3]


def test_weights_from_other_chains_are_refused(tmp_path, smallest):
    files = [str(tmp_path / f"{chains}.npz") for chains in ("ab", "cd")]
    for path, chains in zip(files, ("ab", "cd"), strict=True):
        written(Path(path), smallest, 1, chains)
    with pytest.raises(RecordError, match="other chains"):
        average.main([*files, "--model", "smallest", "--output", str(tmp_path / "mean.npz")])
    assert not (tmp_path / "mean.npz").exists()


def test_the_mean_of_published_weights_is_no_work_of_ours(tmp_path, smallest):
    arrays = {name: np.zeros(shape, np.float32) for name, shape in params.shapes(smallest).items()}
    np.savez(tmp_path / "published.npz", **arrays)
    output = tmp_path / "mean.npz"
    assert average.main([str(tmp_path / "published.npz"), "--model", "smallest", "--output", str(output)]) == 0
    said = params.read_metadata(output)
    assert said["licence"] == "CC BY 4.0"
    assert said["source"].startswith("AlphaFold 2")


def test_weights_of_another_network_are_refused(tmp_path, smallest):
    written(tmp_path / "a.npz", smallest, 1)
    with pytest.raises(params.ParameterFileError):
        average.main([str(tmp_path / "a.npz"), "--model", "mini", "--output", str(tmp_path / "b.npz")])
    assert not (tmp_path / "b.npz").exists()
