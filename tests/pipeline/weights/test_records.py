"""Parameter sets: which files there are, where they lie, and their record."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models import params
from models.config import PRESETS
from pipeline import plan
from pipeline.errors import WeightsError
from pipeline.weights import records as weights
from pipeline.weights.records import ALPHAFOLD2, Entry, locate, read_record, write_record

pytestmark = pytest.mark.usefixtures("folder")
ROOT = Path(__file__).parents[3]


def test_the_published_set():
    sizes = [size for name, size in ALPHAFOLD2.files.items() if name != "LICENSE"]
    assert len(sizes) == len(ALPHAFOLD2.models) == 10
    assert set(ALPHAFOLD2.models) == set(PRESETS) - {"mini"}
    # a tar has 512 bytes before each file, fills files up to 512, and itself up to 10,240
    members = [*ALPHAFOLD2.files.values(), *[373_043_148] * len(ALPHAFOLD2.unused)]
    blocks = sum(512 + -(-size // 512) * 512 for size in members) + 1024
    assert -(-blocks // 10_240) * 10_240 == ALPHAFOLD2.archive_bytes


@pytest.mark.parametrize("model", ["model_1", "model_2_ptm", "model_3", "model_5_ptm"])
def test_sizes_are_those_of_archives_of_the_networks_arrays(model):
    """So the published files hold exactly these arrays in float32, the projections of the triangles separate."""
    size = 22  # the end of a zip archive
    for name, shape in params.shapes(PRESETS[model]).items():
        headers = 128 + (30 + 20) + 46  # of npy, of the zip's member with its large sizes, of the zip's list
        size += 4 * int(np.prod(shape)) + headers + 2 * len(f"{name}.npy")
    assert ALPHAFOLD2.files[f"params_{model}.npz"] == size


def test_the_table_needs_no_jax():
    code = "import sys; import pipeline.weights.command, pipeline.plan; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"


def test_a_folder_of_ones_own(monkeypatch):
    monkeypatch.setenv("FOLDLINE_WEIGHTS", "~/w")
    assert weights.user_folder() == Path.home() / "w"


def test_the_standard_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("FOLDLINE_WEIGHTS", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.user_folder() == tmp_path / ".local" / "share" / "foldline" / "weights"
    monkeypatch.setenv("XDG_DATA_HOME", "relative")
    assert weights.user_folder() == tmp_path / ".local" / "share" / "foldline" / "weights"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert weights.user_folder() == Path("/data/foldline/weights")


def test_a_user_without_a_home(monkeypatch):
    monkeypatch.delenv("FOLDLINE_WEIGHTS")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(WeightsError, match="no home folder for parameters; set FOLDLINE_WEIGHTS"):
        weights.user_folder()


def test_mini_is_part_of_the_repository():
    assert locate("mini") == ROOT / "data" / "weights" / "mini.npz"


def test_the_users_folder(folder):
    folder.mkdir(parents=True)
    (folder / "params_model_3.npz").write_bytes(b"x")
    assert locate("model_3") == folder / "params_model_3.npz"


def test_the_working_folder_comes_first(folder, tmp_path):
    folder.mkdir(parents=True)
    (tmp_path / "data" / "weights").mkdir(parents=True)
    for path in (folder / "params_model_3.npz", tmp_path / "data" / "weights" / "model_3.npz"):
        path.write_bytes(b"x")
    assert locate("model_3") == Path("data/weights/model_3.npz")


def test_absent_weights(folder):
    with pytest.raises(
        WeightsError,
        match=rf"^{folder}/params_model_2_ptm.npz: there are no weights of model 'model_2_ptm'; run: foldline weights"
        r" fetch alphafold2 \(or: foldline weights import params_model_2_ptm.npz\)$",
    ):
        locate("model_2_ptm")


def test_an_unknown_model():
    with pytest.raises(WeightsError, match=r"there are no weights of model 'huge'; models with weights: mini$"):
        locate("huge")


def test_the_plan_of_a_run_asks_here():
    with pytest.raises(WeightsError, match="run: foldline weights fetch alphafold2"):
        plan.data_of(
            {"databases": {"library": "data/library"}, "predict": {"model": "model_1"}, "search": {"databases": []}}
        )


def test_the_record(folder):
    entry = Entry(3, "ab", "here", "2026-01-01", "2026-01-02", 5)
    write_record(ALPHAFOLD2, {"params_model_1.npz": entry})
    assert read_record(ALPHAFOLD2) == {"params_model_1.npz": entry}
    record = json.loads((folder / "weights.json").read_text())
    assert (record["schema"], record["licence"]) == ("foldline.weights/1", "CC BY 4.0")
    assert "Creative Commons" in record["notice"]


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"schema": "foldline.weights/1", "files": [1]}', '{"schema": "foldline.weights/1"}']
)
def test_a_damaged_record(folder, text):
    folder.mkdir(parents=True)
    (folder / "weights.json").write_text(text)
    with pytest.raises(WeightsError, match=r"weights\.json: .*; delete it and run: foldline weights verify"):
        read_record(ALPHAFOLD2)
