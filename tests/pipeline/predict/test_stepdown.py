"""Where memory ends: what is tried next, what the record says, and that no target ends well without a model."""

import jax
import numpy as np
import pytest

from pipeline.features import RawFeatures
from pipeline.predict import records, stepdown
from pipeline.predict import stage as predict
from pipeline.predict.memory import OutOfMemoryError
from pipeline.predict.network import Predictor
from pipeline.predict.settings import Settings
from pipeline.predict.stepdown import Step
from pipeline.protein import Protein
from pipeline.records import read_json

LENGTH, ROWS = 13, 7000
RUN = predict.Run("model_1_ptm", 0)
WEIGHTS = {"model_1_ptm": predict.Weights("model_1_ptm", "none.npz", "0" * 64)}
EXHAUSTED = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 96 bytes."


def features(rows=ROWS):
    return RawFeatures(
        name="one",
        aatype=np.zeros(LENGTH, np.int32),
        residue_index=np.arange(LENGTH, dtype=np.int32),
        msa=np.zeros((rows, LENGTH), np.int8),
        deletion_matrix=np.zeros((rows, LENGTH), np.int16),
        template_aatype=np.zeros((0, LENGTH), np.int8),
        template_positions=np.zeros((0, LENGTH, 37, 3), np.float32),
        template_mask=np.zeros((0, LENGTH, 37), bool),
        template_sum_probs=np.zeros(0, np.float32),
    )


def prediction():
    mask = np.zeros((LENGTH, 37), bool)
    mask[:, :3] = True
    numbers = tuple(str(n + 1) for n in range(LENGTH))
    chain, positions = np.full(LENGTH, "A"), np.arange(LENGTH * 111.0).reshape(LENGTH, 37, 3).astype(np.float32)
    index, aatype = np.arange(LENGTH, dtype=np.int32), np.zeros(LENGTH, np.int32)
    plddt = np.full(LENGTH, 50.0, np.float32)
    protein = Protein(aatype, positions, mask, index, chain_id=chain, author_number=numbers, b_factor=plddt)
    return records.Prediction(protein, plddt, None, 0.5, (0.1,), 0, {"run": 1.0, "compile": 0.0}, 10, "device")


class Device:
    """A device whose memory ends by a rule; it says what was tried on it."""

    def __init__(self, fits, error):
        self.fits, self.error, self.tried = fits, error, []

    def predict(self, predictor, made, run, sizes, parameters):
        way = (sizes.clusters, sizes.extra, predictor.device.platform if predictor.device else "")
        self.tried.append(way)
        if self.fits(*way):
            return prediction()
        raise self.error


@pytest.fixture
def device(monkeypatch):
    """Return a function that puts a device in the place of the real one."""

    def make(fits, error=None):
        made = Device(fits, error or jax.errors.JaxRuntimeError(EXHAUSTED))
        monkeypatch.setattr(Predictor, "_predict", lambda self, *rest: made.predict(self, *rest))  # noqa: PLW0108
        monkeypatch.setattr(
            Predictor, "load", lambda self, weights: vars(self._held).update(model=RUN.model, parameters={})
        )
        return made

    return make


def job(folder, name="one"):
    (folder / name).mkdir()
    features().save(folder / name / "features.npz")
    return predict.Job(folder / name / "features.npz", folder / name)


def run(jobs, **settings):
    return predict.run_batch(jobs, Predictor(Settings(model=RUN.model, **settings)), WEIGHTS, None)


@pytest.mark.parametrize(
    "error", [jax.errors.JaxRuntimeError(EXHAUSTED), MemoryError(), OutOfMemoryError("needs 9 GB")]
)
def test_fewer_rows_are_tried_and_the_record_says_so(tmp_path, device, error, caplog):
    tried = device(lambda clusters, extra, _: extra <= 320, error).tried
    one = job(tmp_path)
    (said,) = run([one])
    assert said["status"] == "ok"
    assert tried == [(508, 5120, ""), (252, 1280, ""), (124, 320, "")]
    record = read_json(one.folder / "confidence.json", records.CONFIDENCE_SCHEMA)
    first, second = record["stepped_down"]
    assert {key: second[key] for key in ("max_msa", "max_extra_msa", "platform")} == {
        "max_msa": 128,
        "max_extra_msa": 320,
        "platform": "",
    }
    assert first["reason"].startswith("needs 9 GB" if isinstance(error, OutOfMemoryError) else "memory ended on ")
    assert "trying with 128 MSA and 320 extra rows" in caplog.text


def test_the_next_target_of_the_batch_does_not_fail_first(tmp_path, device):
    tried = device(lambda clusters, extra, _: extra <= 1280).tried
    said = run([job(tmp_path, "one"), job(tmp_path, "two")])
    assert [record["status"] for record in said] == ["ok", "ok"]
    assert tried == [(508, 5120, ""), (252, 1280, ""), (252, 1280, "")]
    record = read_json(tmp_path / "two/confidence.json", records.CONFIDENCE_SCHEMA)
    assert [way["max_extra_msa"] for way in record["stepped_down"]] == [1280]


def test_what_fits_says_nothing(tmp_path, device):
    device(lambda *_: True)
    run([one := job(tmp_path)])
    assert read_json(one.folder / "confidence.json", records.CONFIDENCE_SCHEMA)["stepped_down"] == []


def test_where_nothing_fits_the_target_fails_without_a_model(tmp_path, device):
    device(lambda *_: False)
    one = job(tmp_path)
    (one.folder / "predicted.cif").write_text("of earlier weights")
    (said,) = run([one])
    assert said["status"] == "failed"
    assert "memory ended on" in said["reason"]
    assert "nor with 64 MSA and 80 extra rows" in said["reason"]
    assert "lower predict.max_extra_msa" in said["reason"]
    assert not (one.folder / "predicted.cif").exists()


def test_a_stepped_down_prediction_is_not_made_again(tmp_path, device):
    made, one = device(lambda clusters, extra, _: extra <= 320), job(tmp_path)
    run([one])
    before = len(made.tried)
    assert run([one])[0]["status"] == "ok"
    assert len(made.tried) == before


def test_the_cpu_is_the_last_where_it_is_allowed(tmp_path, device, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    tried = device(lambda clusters, extra, platform: platform == "cpu").tried
    (said,) = run([job(tmp_path)], cpu_fallback=True)
    assert said["status"] == "ok"
    assert tried[-1] == (508, 5120, "cpu")
    record = read_json(tmp_path / "one/confidence.json", records.CONFIDENCE_SCHEMA)
    assert record["stepped_down"][-1]["platform"] == "cpu"


def test_the_cpu_is_not_taken_unasked(tmp_path, device, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    tried = device(lambda clusters, extra, platform: platform == "cpu").tried
    (said,) = run([job(tmp_path)])
    assert said["status"] == "failed"
    assert "predict.cpu_fallback" in said["reason"]
    assert not [way for way in tried if way[2]]


def test_another_error_is_no_lack_of_memory(tmp_path, device):
    tried = device(lambda *_: False, jax.errors.JaxRuntimeError("INTERNAL: the device is lost")).tried
    (said,) = run([job(tmp_path)])
    assert said["reason"] == "INTERNAL: the device is lost"
    assert len(tried) == 1


def test_steps_keep_the_rows_of_templates_and_leave_mini_alone():
    assert stepdown.steps(Settings(model="model_1_ptm", max_msa=8, max_extra_msa=8), falls_back=False) == [
        Step(5, 2),
        Step(5, 1),
    ]
    assert stepdown.steps(Settings(), falls_back=False) == []
    assert stepdown.steps(Settings(), falls_back=True) == [Step(1, 0, "cpu")]


def test_a_shallow_alignment_skips_steps_that_change_nothing(device):
    tried = device(lambda *_: False).tried
    ladder = stepdown.StepDown(Predictor(Settings(model=RUN.model)))
    with pytest.raises(OutOfMemoryError, match="one: memory ended on"):
        ladder.predict(features(100), RUN, WEIGHTS[RUN.model], None)
    assert len({way[:2] for way in tried}) == len(tried) < 4
