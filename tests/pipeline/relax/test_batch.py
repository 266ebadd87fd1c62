"""A batch of relaxations in one process: as alone, nothing twice, a failure costs one target."""

import dataclasses
import errno
import json
import os
import time

import numpy as np
import pytest

from pipeline.errors import StageError
from pipeline.protein import read_structure
from pipeline.protein_writer import write_mmcif
from pipeline.ranking import RANKING_SCHEMA
from pipeline.records import read_json, write_json
from pipeline.relax import stage, worker
from pipeline.relax.files import SCHEMA, is_relaxed
from pipeline.relax.settings import RelaxFailure, Settings
from pipeline.relax.stage import Places, Relaxer, main, relax, relax_target
from pipeline.relax.worker import Worker

QUICK = ("--iterations", "20", "--rounds", "1")


@pytest.fixture
def folders(golden, tmp_path):
    """Two predictions, and a target without one."""
    protein = read_structure(golden / "1l2y_A.pdb")
    for name, shift in (("a", 0.0), ("b", 0.5)):
        (tmp_path / name).mkdir()
        moved = dataclasses.replace(protein, atom37_positions=protein.atom37_positions + np.float32(shift))
        write_mmcif(tmp_path / name / "predicted.cif", moved, name=name)
    (tmp_path / "c").mkdir()
    return [tmp_path / name for name in "abc"]


def run(folders, *words):
    record = folders[0].parent / "relax-0032-001-01.json"
    assert main(["--targets", *map(str, folders), "--batch", str(record), *QUICK, *words]) == 0
    return {entry["name"]: entry for entry in read_json(record, "foldline.batch/1")["targets"]}


def times(folders):
    return [path.stat().st_mtime_ns for folder in folders for path in sorted(folder.iterdir())]


def test_a_batch_gives_what_each_gives_alone(folders, tmp_path):
    said = run(folders)
    assert {name: entry["status"] for name, entry in said.items()} == {"a": "ok", "b": "ok", "c": "failed"}
    assert said["c"]["reason"] == "there is no prediction"
    assert "relaxed_sha256" in said["a"]
    alone = ["--structure", str(folders[1] / "predicted.cif"), "--output", str(tmp_path / "alone.cif")]
    assert main([*alone, "--report", str(tmp_path / "alone.json"), "--no-isolate", *QUICK]) == 0
    assert (tmp_path / "alone.cif").read_bytes() == (folders[1] / "relaxed.cif").read_bytes()
    record = json.loads((folders[1] / "relax.json").read_text())
    assert record["status"] == "relaxed"


def test_nothing_is_relaxed_twice(folders):
    run(folders)
    before = times(folders)
    run(folders)
    assert times(folders) == before
    (folders[0] / "relaxed.cif").write_text("damaged")
    run(folders)
    after = times(folders)
    assert after[3:] == before[3:]  # of the other target
    assert after[:3] != before[:3]
    run(folders, "--stiffness", "9")
    assert all(new > old for new, old in zip(times(folders)[1:3], after[1:3], strict=True))


def test_another_prediction_is_relaxed_anew(folders):
    first = run(folders, "--no-isolate")
    (folders[0] / "predicted.cif").write_bytes((folders[1] / "predicted.cif").read_bytes())
    second = run(folders, "--no-isolate")
    assert first["a"]["relaxed_sha256"] != second["a"]["relaxed_sha256"] == second["b"]["relaxed_sha256"]


def test_settings_that_change_no_result_relax_nothing(folders):
    run(folders[:1], "--no-isolate")
    before = times(folders[:1])
    run(folders[:1], "--models", "all")
    assert times(folders[:1]) == before
    run(folders[:1], "--pdb")
    assert (folders[0] / "relaxed.pdb").is_file()
    assert run(folders[:1], "--models", "none")["a"]["status"] == "ok"
    assert read_json(folders[0] / "relax.json", "foldline.relax/1")["status"] == "unrelaxed"


def test_the_reason_is_that_of_the_prediction(folders):
    assert relax_target(folders[2], Relaxer(Settings(), relax), {"c": "out of memory"})["reason"] == "out of memory"


def test_a_structure_that_cannot_be_read_costs_one_target(folders):
    run(folders[:1], "--no-isolate")
    (folders[0] / "predicted.cif").write_text("data_x\n")
    said = run(folders, "--no-isolate")
    assert (said["a"]["status"], said["b"]["status"]) == ("failed", "ok")
    assert "without atoms" in said["a"]["reason"]
    assert not (folders[0] / "relaxed.cif").exists()


def test_a_result_that_cannot_be_written_costs_one_target(folders):
    (folders[0] / "relaxed.cif").mkdir()
    said = run(folders, "--no-isolate", "--min-plddt", "100")
    assert (said["a"]["status"], said["b"]["status"]) == ("failed", "ok")
    (folders[0] / "relaxed.cif").rmdir()
    assert run(folders[:1], "--no-isolate", "--min-plddt", "100")["a"]["status"] == "ok"


def test_a_process_that_cannot_be_started_is_a_reason(folders, monkeypatch):
    def none_left(*_words):
        raise BlockingIOError(errno.EAGAIN, "no process is left")

    protein = read_structure(folders[0] / "predicted.cif")
    with Worker(stage.handed_on) as process:
        with monkeypatch.context() as patch:
            patch.setattr("multiprocessing.popen_spawn_posix.Popen", none_left)
            with pytest.raises(RelaxFailure, match="no process could be started: no process is left"):
                process(protein, Settings())
        assert process(protein, Settings()).record.status == "unrelaxed"


def test_strict_names_the_target_and_keeps_its_files(folders):
    said = run(folders[:1], "--strict", "--no-isolate", "--iterations", "1")
    assert said["a"]["reason"].startswith(f"{folders[0]}/predicted.cif: not fully relaxed: ")
    assert (folders[0] / "relaxed.cif").is_file()
    with pytest.raises(StageError, match="not fully relaxed"):
        Relaxer(Settings(strict=True, iterations=1), relax).relax_all(Places.of(folders[0]), None)


def rank(folder, *predictions):
    """Give a target several predictions, the first one its own: the files of these."""
    names = [f"m{number}-0" for number in range(1, len(predictions) + 1)]
    for name, prediction in zip(names, predictions, strict=True):
        (folder / "models" / name).mkdir(parents=True, exist_ok=True)
        (folder / "models" / name / "predicted.cif").write_bytes(prediction)
    (folder / "predicted.cif").write_bytes(predictions[0])
    write_json(folder / "ranking.json", {"ranked": [{"folder": f"models/{name}"} for name in names]}, RANKING_SCHEMA)
    return [folder / "models" / name for name in names]


def test_all_models_are_relaxed_once(folders):
    models = rank(folders[0], *((folder / "predicted.cif").read_bytes() for folder in folders[:2]))
    run(folders[:1], "--models", "all")
    files = [folder / "relax.json" for folder in models]
    before = [path.stat().st_mtime_ns for path in files]
    files[0].unlink()
    run(folders[:1], "--models", "all")
    after = [path.stat().st_mtime_ns for path in files]
    assert (after[0] > before[0], after[1]) == (True, before[1])


def test_the_best_of_several_is_relaxed_once(folders):
    models = rank(folders[0], *((folder / "predicted.cif").read_bytes() for folder in folders[:2]))
    seen = []

    def physics(protein, settings):
        seen.append(protein)
        return stage.handed_on(protein, settings, "for a test")

    Relaxer(Settings(models="all", pdb=True), physics).relax_all(Places.of(folders[0]), folders[0] / "ranking.json")
    assert len(seen) == 2
    for name in ("relaxed.cif", "relaxed.pdb", "relax.json"):
        own, best, other = ((folder / name).read_bytes() for folder in (folders[0], *models))
        assert own == best != other
    assert all(is_relaxed(Places.of(folder), Settings(models="all", pdb=True)) for folder in models)
    relax_target(folders[0], Relaxer(Settings(models="all", pdb=True), physics), {})
    assert len(seen) == 2


def test_a_copy_of_another_name_is_told_by_its_record(folders, tmp_path):
    (copied, _) = rank(folders[0], *((folder / "predicted.cif").read_bytes() for folder in folders[:2]))
    words = ["--structure", str(folders[0] / "predicted.cif"), "--output", str(tmp_path / "y.cif")]
    words += ["--report", str(tmp_path / "y.json"), "--ranking", str(folders[0] / "ranking.json"), "--models", "all"]
    assert main([*words, "--no-isolate", *QUICK]) == 0
    assert list(read_json(tmp_path / "y.json", SCHEMA)["files"]) == ["y.cif"]
    assert list(read_json(copied / "relax.json", SCHEMA)["files"]) == ["relaxed.cif"]
    assert (copied / "relaxed.cif").read_bytes() == (tmp_path / "y.cif").read_bytes()


def test_the_record_says_which_predictions_are_relaxed_now(folders):
    models = rank(folders[0], *((folder / "predicted.cif").read_bytes() for folder in folders[:2]))
    for which in ("all", "best", "all"):
        run(folders[:1], "--models", which)
        record = read_json(folders[0] / "relax.json", SCHEMA)
        assert (record["settings"]["models"], record["status"]) == (which, "relaxed")
        assert all((folder / "relax.json").exists() == (which == "all") for folder in models)


def test_a_damaged_ranking_costs_one_target(folders):
    write_json(folders[0] / "ranking.json", {"ranked": [{"model": "m"}]}, RANKING_SCHEMA)
    said = run(folders[:1])["a"]
    assert (said["status"], "expected the folder of each prediction" in said["reason"]) == ("failed", True)


def test_no_pdb_file_of_an_earlier_prediction_stays(folders):
    run(folders[:1], "--pdb", "--min-plddt", "100")
    assert (folders[0] / "relaxed.pdb").is_file()
    run(folders[:1], "--min-plddt", "100")  # of the same prediction
    assert (folders[0] / "relaxed.pdb").is_file()
    (folders[0] / "predicted.cif").write_bytes((folders[1] / "predicted.cif").read_bytes())
    assert run(folders[:1], "--min-plddt", "100")["a"]["status"] == "ok"
    assert not (folders[0] / "relaxed.pdb").exists()
    assert list(read_json(folders[0] / "relax.json", SCHEMA)["files"]) == ["relaxed.cif"]


def test_a_pdb_file_that_is_not_ours_stays(folders, tmp_path):
    """Beside files that the user names, only the record tells which one an earlier relaxation wrote."""

    def relaxed(structure, *more):
        words = [
            "--structure",
            str(structure),
            "--output",
            str(tmp_path / "x.cif"),
            "--report",
            str(tmp_path / "x.json"),
        ]
        assert main([*words, "--models", "none", *more]) == 0

    own = tmp_path / "x.pdb"
    own.write_text("mine")
    relaxed(folders[0] / "predicted.cif")
    assert own.read_text() == "mine"
    relaxed(folders[0] / "predicted.cif", "--pdb")
    relaxed(own)  # which is what is read now
    assert own.is_file()
    relaxed(folders[0] / "predicted.cif", "--pdb")
    relaxed(folders[1] / "predicted.cif")
    assert not own.exists()


def test_one_process_does_all_until_it_ends(folders, monkeypatch):
    monkeypatch.setattr(worker, "STRUCTURES", 3)
    protein, processes = read_structure(folders[0] / "predicted.cif"), []
    with Worker(stage.handed_on) as process:
        for number in range(7):
            if number == 2:
                with pytest.raises(RelaxFailure, match="ended: exit code 1"):
                    process(None, Settings())  # which is no structure
                continue
            assert process(protein, Settings()).record.status == "unrelaxed"
            processes.append(process._process.pid)
    assert processes[0] == processes[1]
    assert processes[2] == processes[3] == processes[4] != processes[5]
    assert len(set(processes)) == 3
    assert os.getpid() not in processes


def test_a_process_that_takes_too_long_is_ended(folders):
    protein, ready = read_structure(folders[0] / "predicted.cif"), []
    with Worker(stage.handed_on, ready.append) as process:
        with pytest.raises(RelaxFailure, match="the budget was spent: ended from outside"):
            process(protein, Settings(seconds=1e-6))
        assert ready == [protein]  # what was done here meanwhile
        assert process._process is None
        assert process(protein, Settings()).record.status == "unrelaxed"
        assert ready == [protein]


def test_a_large_structure_waits_for_no_process_that_does_not_read(folders, monkeypatch):
    """More than a pipe holds is handed over while the clock runs."""
    protein = read_structure(folders[0] / "predicted.cif")
    large = dataclasses.replace(protein, notes=("x" * 10**6,))
    with Worker(stage.handed_on) as process, pytest.raises(RelaxFailure, match="ended from outside"):
        process(large, Settings(seconds=1e-6))
    with Worker(stage.handed_on) as process:
        assert process(large, Settings()).record.changes == large.notes


def test_the_budget_runs_from_before_the_process_starts(folders):
    began = time.monotonic()
    with Worker(stage.handed_on) as process:
        started = process(read_structure(folders[0] / "predicted.cif"), Settings()).record.reason
    assert began <= started < time.monotonic()
