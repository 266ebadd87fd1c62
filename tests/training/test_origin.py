"""What weights are made from: other chains are refused, sources and licences are handed on."""

import dataclasses

import numpy as np
import pytest

from models import params
from models.config import ModelConfig
from pipeline.errors import RecordError
from training import origin

OURS = {"source": origin.SOURCE, "licence": "Apache-2.0", "training": {"training_list_sha256": "ab"}}
CHAINS = "ab"


@dataclasses.dataclass(frozen=True)
class Source:
    """Stands for the training data: its network and its list of chains."""

    config: ModelConfig

    def describe(self):
        return {"training_list_sha256": CHAINS}


@pytest.fixture
def arrays(smallest):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in params.shapes(smallest).items()}


@pytest.fixture
def published(tmp_path, arrays):
    """Write weights that say nothing of themselves."""
    np.savez(tmp_path / "published.npz", **arrays)
    return tmp_path / "published.npz"


def written(path, arrays, config, chains):
    params.save(path, params.nested(arrays), config, {**OURS, "training": {"training_list_sha256": chains}})
    return path


def test_later_files_come_first_and_all_say_what_they_are(tmp_path, arrays, smallest):
    first = written(tmp_path / "a.npz", arrays, smallest, CHAINS)
    name = next(iter(arrays))
    second = written(tmp_path / "b.npz", {name: arrays[name] + 1}, smallest, CHAINS)
    start = origin.read_start([first, second], Source(smallest))
    found = params.flat(start.params)
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[one], arrays[one] + (one == name)) for one in arrays)
    assert start.about == (OURS, OURS)
    assert origin.read_start([], Source(smallest)) is None


def test_weights_from_another_list_of_chains_are_refused(tmp_path, arrays, smallest):
    path = written(tmp_path / "a.npz", arrays, smallest, "cd")
    with pytest.raises(RecordError, match=r"another list of chains.*--validation-chains") as caught:
        origin.read_start([path], Source(smallest))
    assert caught.value.where == str(path)


def test_weights_that_say_nothing_are_warned_of_and_count_as_published(published, smallest, caplog):
    with caplog.at_level("WARNING"):
        start = origin.read_start([published], Source(smallest))
    assert f"{published}: it is not known what these weights were trained on" in caplog.text
    (about,) = start.about
    assert about["source"].startswith("AlphaFold 2")
    assert (about["licence"], about["training"]) == ("CC BY 4.0", {})


def test_what_is_trained_from_our_own_weights_is_ours():
    assert origin.of_trained([]) == origin.of_trained([OURS, OURS])
    assert origin.of_trained([]) == {"source": origin.SOURCE, "licence": "Apache-2.0"}


def test_sources_and_licences_are_handed_on(published):
    theirs = origin.read_about(published)
    once = origin.of_trained([OURS, theirs])
    assert "from scratch" not in once["source"]
    assert once["source"].endswith(f"beginning with: {theirs['source']}")
    assert once["licence"] == "Apache-2.0 and CC BY 4.0"
    again = origin.of_trained([once])
    assert again["source"].endswith(theirs["source"])
    assert again["licence"] == once["licence"]
    assert origin.of_mean([theirs, theirs]) == {name: theirs[name] for name in ("source", "licence")}
    mean = origin.of_mean([OURS, theirs])
    assert mean == {"source": f"mean of: {origin.SOURCE}; {theirs['source']}", "licence": once["licence"]}
