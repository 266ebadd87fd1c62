import dataclasses

import numpy as np
import pytest

from models.config import mini
from models.inputs import make_inputs
from pipeline.errors import RecordError, StageError
from pipeline.features import SCHEMA, RawFeatures, write_failure
from pipeline.records import write_npz


@pytest.fixture
def features():
    rng = np.random.default_rng(3)
    s, n, t = 5, 13, 2
    return RawFeatures(
        name="target-1",
        aatype=rng.integers(0, 21, n).astype(np.int32),
        residue_index=np.arange(n, dtype=np.int32),
        msa=rng.integers(0, 22, (s, n)).astype(np.int8),
        deletion_matrix=rng.integers(0, 9, (s, n)).astype(np.int16),
        template_aatype=rng.integers(0, 22, (t, n)).astype(np.int8),
        template_positions=rng.normal(size=(t, n, 37, 3)).astype(np.float32),
        template_mask=rng.random((t, n, 37)) < 0.5,
        template_sum_probs=np.array([11.0, 7.0], dtype=np.float32),
        template_ids=("1ABC_A", "2XYZ_bb"),
    )


def test_round_trip(features, tmp_path):
    features.save(tmp_path / "features.npz")
    again = RawFeatures.load(tmp_path / "features.npz")
    assert (again.name, again.template_ids) == (features.name, features.template_ids)
    for name, array in features.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
        assert again.arrays()[name].dtype == array.dtype


def test_the_network_reads_the_arrays(features):
    inputs = make_inputs(features.arrays(), mini().input, np.random.default_rng(0), 3)
    assert inputs["template_pseudo_beta"].shape == (3, 2, 13, 3)


def test_no_templates(features, tmp_path):
    none = {name: array[:0] for name, array in features.arrays().items() if name.startswith("template")}
    dataclasses.replace(features, template_ids=(), **none).save(tmp_path / "features.npz")
    assert RawFeatures.load(tmp_path / "features.npz").template_ids == ()


def test_arrays_must_belong_together(features):
    with pytest.raises(RecordError, match=r"target-1: expected msa of shape \(5, 12\) and type int8, found \(5, 13\)"):
        dataclasses.replace(features, aatype=features.aatype[:12], residue_index=features.residue_index[:12])
    with pytest.raises(RecordError, match=r"expected aatype .* type int32, found .* int64"):
        dataclasses.replace(features, aatype=features.aatype.astype(np.int64))
    with pytest.raises(RecordError, match="msa holds ids outside 0 to 21"):
        dataclasses.replace(features, msa=features.msa + np.int8(22))
    with pytest.raises(RecordError, match="no residues or no alignment rows"):
        dataclasses.replace(features, msa=features.msa[:0], deletion_matrix=features.deletion_matrix[:0])


def test_files_that_are_not_features(features, tmp_path):
    path = tmp_path / "features.npz"
    with pytest.raises(RecordError, match="it does not exist"):
        RawFeatures.load(path)
    features.save(path)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(RecordError, match="it is damaged"):
        RawFeatures.load(path)
    write_npz(path, {"aatype": np.zeros(3, np.int32)}, SCHEMA)
    with pytest.raises(RecordError, match="missing or unknown arrays: deletion_matrix, msa"):
        RawFeatures.load(path)
    write_npz(path, {}, "foldline.features/0")
    with pytest.raises(RecordError, match="found 'foldline"):
        RawFeatures.load(path)
    text = {"name": np.array("a"), "template_ids": np.array([], dtype=str)}
    write_npz(path, {**features.arrays(), **text}, SCHEMA)
    with pytest.raises(RecordError, match=r"features\.npz: expected template_aatype of shape \(0, 13\).*run featurize"):
        RawFeatures.load(path)


def test_the_reason_of_a_failure_stands_in_the_place_of_features(tmp_path):
    write_failure(tmp_path / "features.npz", "search failed: no such file")
    with pytest.raises(StageError, match=r"^search failed: no such file$"):
        RawFeatures.load(tmp_path / "features.npz")
