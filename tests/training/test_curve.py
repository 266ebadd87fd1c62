"""The figure of a training: well-formed, with a curve for each term and condition."""

import numpy as np
import pytest

from training import curve


@pytest.fixture
def folder(tmp_path):
    rows = [f"{step}\t{5 - step / 100}\t3\t0.5" for step in range(1, 401)]
    (tmp_path / "loss.tsv").write_text("\n".join(("step\tloss\tdistogram\tbackbone_fape", *rows)), encoding="utf-8")
    scores = ("100\ttemplate 30-90 %\t7\t0.60\t0.5", "100\tno template\t9\t0.25\t0.5")
    later = ("200\ttemplate 30-90 %\t7\t0.65\t0.5", "200\tno template\t9\t0.30\t0.5")
    header = "step\tcondition\tchains\tCA-lDDT\tpLDDT"
    (tmp_path / "curve.tsv").write_text("\n".join((header, *scores, *later)), encoding="utf-8")
    return tmp_path


def test_each_term_and_condition_has_a_curve(folder, tmp_path):
    assert curve.main([str(folder), str(tmp_path / "figure.svg")]) == 0
    _, *panels = (tmp_path / "figure.svg").read_text(encoding="utf-8").split("<g ")
    assert [panel.count("<polyline") - 1 for panel in panels] == [3, 2]
    assert ">no template 0.300<" in panels[1]


def test_the_loss_is_smoothed_without_changing_its_mean(folder):
    steps, values = curve.loss_curves(folder)["loss"]
    assert len(steps) == 200
    assert values.mean() == pytest.approx(5 - 200.5 / 100)
    assert np.all(np.diff(steps) > 0)


def test_a_training_without_scores_has_one_panel(folder):
    (folder / "curve.tsv").unlink()
    assert curve.figure(folder).count("<g ") == 1
