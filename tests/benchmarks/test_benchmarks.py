"""The benchmarks: what they measure is well formed, and the quickest of them runs."""

import importlib.util
import sys

import numpy as np
import pytest

from pipeline.config import ROOT
from training import dataset

SCRIPTS = (
    *("library", "network", "parity", "precision", "predict", "sizes", "training_step"),
    *("relax", "report", "search", "side_chains", "templates", "workflow"),
)


@pytest.fixture(scope="module")
def scripts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield {name: load(name) for name in SCRIPTS}
        sys.modules.pop("machine", None)


def load(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_docstring_names_the_command(scripts, name):
    assert f"    .venv/bin/python benchmarks/{name}.py" in scripts[name].__doc__


def test_random_features_are_features(scripts):
    features = scripts["predict"].random_features(17)
    assert features.msa.shape == (256, 17)
    distance = np.linalg.norm(np.diff(features.template_positions[0, :, 1], axis=0), axis=-1)
    assert 2 < distance.mean() < 6  # a chain, not a cloud


def test_random_example_has_inputs_and_labels(scripts):
    module = scripts["training_step"]
    example = module.random_example(module.PRESETS["mini"], 17)
    assert set(dataset.LABELS) < set(module.LABELS) <= set(example)
    assert example["template_pseudo_beta"].shape == (2, 17, 3)
    assert example["msa_mask"].min() == example["template_mask"].min() == 1


def test_our_network_is_measured(scripts):
    run, *compiling = scripts["network"].ours(scripts["network"].Case("model_3", 1, 7, 5, 3, 1, "float32"))
    assert run() == 2  # iterations
    assert min(compiling) > 0


def test_relaxation_is_measured(scripts, capsys):
    assert scripts["relax"].main(["--structures", str(scripts["relax"].STRUCTURES[0]), "--noise", "0.1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert [line.count("|") for line in lines[2:]] == [20, 20, 20]
    assert "| relaxed | full |" in lines[4]


@pytest.mark.parametrize("words", [["--entries", "3"], ["--index", "5"]])
def test_a_library_of_one_s_own_is_measured(scripts, capsys, words):
    assert scripts["library"].main([*words, "--processes", "1"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert {line.count("|") for line in lines} <= {7, 10}
    assert len(lines) == (6 if "--entries" in words else 3)


def test_engines_are_measured(scripts, tmp_path, capsys):
    letters = "MKVLAWGTRSQDNEPHIFYCMKVLAWGTRSQDNEPHIFYC"
    (tmp_path / "db.fasta").write_text(f">PF1|a\n{letters}\n>PF1|b\n{letters[3:]}\n>tr|X1|X1_Y\n{'GP' * 20}\n")
    (tmp_path / "q.fasta").write_text(f">PF1|q\n{letters}\n>PF1|r\n{letters[2:]}\n")
    words = ["--database", tmp_path / "db.fasta", "--queries", tmp_path / "q.fasta", "--batch", "2", "--times", "2"]
    words += ["--engines", "jackhmmer", "hmmsearch", "--repeats", "1", "--group", "1", "--work", tmp_path]
    assert scripts["search"].main([str(word) for word in words]) == 0
    for row, name in zip(capsys.readouterr().out.splitlines()[-2:], ("jackhmmer", "hmmsearch"), strict=True):
        assert row.startswith(f"| 2x | 2 | {name} | none |")
        assert row.endswith("| 4 | 1.0000 | 1.0000 |")


def test_decoys_are_shuffled_copies(scripts, tmp_path):
    (tmp_path / "db.fasta").write_text(">PF1|a\nMKVLAWGT\n>b\nRSQDNE\n")
    scripts["search"].enlarge(tmp_path / "db.fasta", tmp_path / "four.fasta", 4)
    records = dict(scripts["search"].read_fasta(tmp_path / "four.fasta"))
    assert len(records) == 8
    assert records["PF1|a"] == "MKVLAWGT"
    assert {"".join(sorted(letters)) for letters in records.values()} == {"AGKLMTVW", "DENQRS"}
