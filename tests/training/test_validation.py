"""Judging a run: an experiment judged by itself is right in everything; what is missing counts as wrong."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import RecordError
from pipeline.protein import read_structure
from pipeline.protein_writer import write_mmcif, write_pdb
from pipeline.quality.secondary import secondary_structure, three_states
from training import validation

GOLDEN = Path(__file__).parents[1] / "pipeline" / "golden"


@pytest.fixture(scope="module")
def native():
    return read_structure(GOLDEN / "1bpi_A.pdb")


def test_an_experiment_judged_by_itself_is_right(native):
    confident = dataclasses.replace(native, b_factor=np.full(len(native), 90.0, np.float32))
    found = validation.judge(confident, native)
    assert found.scores == (1, 1, 1, 1)
    for name in ("chi-1 right", "buried", "Q3"):
        right, known = found.counts[name]
        assert right == known > 0
    assert found.counts["CA clashes"][0] == 0
    np.testing.assert_allclose(found.plddt, 0.9)
    np.testing.assert_allclose(found.ca_lddt, 1)


def test_what_is_expected_is_counted_beside_what_is_built(native):
    built = three_states(secondary_structure(native))
    wrong = {"H": "E", "E": "-", "-": "H"}
    expected = "".join(wrong[letter] for letter in built[:7]) + built[7:]
    counts = validation.judge(native, native, expected).counts
    assert counts["Q3"] == (58, 58)
    assert counts["Q3 expected"] == (51, 58)
    assert "Q3 expected" not in validation.judge(native, native).counts


def test_bonds_and_angles_are_counted_as_they_are_measured(native):
    broken = native.atom37_positions.copy()
    broken[10:] += [0.0, 0.0, 5.0]
    before, after = (
        validation.judge(model, native).counts
        for model in (native, dataclasses.replace(native, atom37_positions=broken))
    )
    assert after["bonds off"][0] == before["bonds off"][0] + 1
    assert after["bonds off"][1] == before["bonds off"][1] > 400  # BPTI has 58 residues and 454 heavy atoms


@pytest.fixture
def run(tmp_path, native):
    """Write a run of two targets, of which one has no structure, and their references."""
    rows = [{"name": "near", "length": 58, "best_identity": 0.7}, {"name": "far", "length": 13, "best_identity": None}]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "summary.json").write_text(json.dumps({"targets": rows}), encoding="utf-8")
    folder = tmp_path / "run" / "targets" / "near"
    folder.mkdir(parents=True)
    for kind in ("predicted", "relaxed"):
        write_mmcif(folder / f"{kind}.cif", native, name="near")
    (tmp_path / "references").mkdir()
    for name in ("near", "far"):
        write_pdb(tmp_path / "references" / f"{name}.pdb", native)
    return tmp_path


def test_the_table_has_a_row_for_each_method_and_bin(run, capsys):
    figure = run / "calibration.svg"
    folders = ["--run", str(run / "run"), "--references", str(run / "references")]
    assert validation.main([*folders, "--figure", str(figure)]) == 0
    assert figure.read_text(encoding="utf-8").count("<polyline") == 3  # the frame, what would be right, what is
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    found = {tuple(line[:-14]): (line[-13], line[-12]) for line in lines if "predicted" in line}
    assert found == {  # folds that are right, CA-lDDT
        ("above", "50", "%", "predicted"): ("1", "1.000"),
        ("no", "template", "predicted"): ("0", "0.000"),  # it has none, so all of it is wrong
        ("all", "predicted"): ("1", "0.500"),
    }


def test_long_targets_can_be_left_out(run):
    assert set(validation.identities(run / "run")) == {"near", "far"}
    assert set(validation.identities(run / "run", longest=20)) == {"far"}


def test_a_run_without_references_is_refused(run, tmp_path):
    with pytest.raises(RecordError, match="no target of this run has a reference"):
        validation.main(["--run", str(run / "run"), "--references", str(tmp_path / "elsewhere")])


def test_a_run_without_predictions_has_no_correlation(run, capsys):
    (run / "run" / "targets" / "near" / "predicted.cif").unlink()
    figure = run / "calibration.svg"
    folders = ["--run", str(run / "run"), "--references", str(run / "references")]
    assert validation.main([*folders, "--figure", str(figure)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[-1] for line in lines if "correlation" in line] == ["-", "-"]
    assert figure.is_file()


def test_one_residue_has_no_correlation():
    judged = [validation.Judged((), {}, np.array([0.55]), np.array([0.4])), validation.MISSING]
    assert list(validation.calibration(judged)) == [
        ["0.5 to 0.6", "1", "0.550", "0.400"],
        ["correlation", "of residues", "-", ""],
        ["correlation", "of targets", "-", ""],
    ]


def test_calibration_counts_every_residue_once(native):
    rng = np.random.default_rng(0)
    judged = [
        validation.Judged((), {}, plddt, np.clip(plddt + rng.normal(scale=0.01, size=50), 0, 1))
        for plddt in rng.uniform(0, 1, (3, 50))
    ]
    *tenths, residues, targets = validation.calibration(judged)
    assert sum(int(row[1]) for row in tenths) == 150
    assert float(residues[2]) > 0.99
    assert float(targets[2]) > 0.99
