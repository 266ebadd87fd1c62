"""Ablations: each variant differs from `mini` in one thing, and what is in the table is not trained again."""

import dataclasses

import numpy as np
import pytest

from models import params
from models.config import PRESETS, ModelConfig
from pipeline.errors import ConfigError
from training import ablation, curve, sources, train

CHANGES = {
    "as it is": set(),
    "frames begin at the origin": {"structure.initial_frames"},
    "frames begin with the distogram alone": {"structure.initial_frames"},
    "no convolutions": {"evoformer.sequence"},
    "no couplings": {"input.couplings", "evoformer.couplings"},
    "no head for hydrogen bonds": {"heads.hydrogen_bonds"},
    "no head for secondary structure": {"heads.secondary_structure"},
    "triangle attention too": {"evoformer.block.triangle_attention"},
    "triangles at half resolution": {"evoformer.block.pair_stride"},
    "violations and physics from a third on": set(),
    "taught by trained networks too": set(),
}


def changed(ours: object, theirs: object, prefix: str = "") -> set[str]:
    """Return the dotted names of the settings that differ."""
    if not (dataclasses.is_dataclass(ours) and dataclasses.is_dataclass(theirs)):
        return set() if ours == theirs else {prefix.rstrip(".")}
    names = [field.name for field in dataclasses.fields(ours)]
    return {x for n in names for x in changed(getattr(ours, n), getattr(theirs, n), f"{prefix}{n}.")}


@pytest.mark.parametrize("name", ablation.VARIANTS)
def test_a_variant_differs_in_one_thing_and_is_a_network(name):
    mini, variant = PRESETS["mini"], ablation.VARIANTS[name]
    config = variant.config(mini)
    assert changed(mini, config) == CHANGES[name]
    assert bool(CHANGES[name]) + bool(variant.settings) + variant.taught == (name != "as it is")
    assert params.shapes(config)


@dataclasses.dataclass(frozen=True)
class Source:
    """Stands for the training data: all that is asked of it here is its network."""

    config: ModelConfig


def test_a_variant_is_trained_with_its_network_and_settings(smallest, monkeypatch, tmp_path):
    seen = []

    def trained(source, settings, output, sitting, watch, teachers):
        seen.append((source.config.evoformer.sequence, settings.physics_from, len(teachers.params) if teachers else 0))
        assert (output, sitting.start) == (tmp_path, None)
        (output / "loss.tsv").write_text("step\tseconds\n1\t0.75\n2\t0.25\n", encoding="utf-8")
        return train.State({}, {}, None, settings.steps)

    monkeypatch.setattr(train, "train", trained)
    monkeypatch.setattr(ablation.scores, "predictor", lambda source, recycles: lambda weights, example: (weights, None))
    settings, sequence = train.Settings(steps=7, warmup=1, physics_from=1.0), smallest.evoformer.sequence
    arrays = {name: np.zeros(shape, np.float32) for name, shape in params.shapes(smallest).items()}
    params.save(tmp_path / "teacher.npz", params.nested(arrays), smallest, {})
    files = ablation.Files(teachers=[tmp_path / "teacher.npz"] * 2)
    names = ("no convolutions", "violations and physics from a third on", "taught by trained networks too")
    for name in names:
        way, seconds = ablation.run(Source(smallest), ablation.VARIANTS[name], settings, tmp_path, files)
        assert way({}) == ({}, None)
        assert seconds == 0.5  # of the steps in the notes, whichever sitting took them
    assert seen == [(None, 1.0, 0), (sequence, 0.33, 0), (sequence, 1.0, 2)]


def test_a_variant_that_is_taught_needs_teachers(tmp_path, capsys):
    flags = ["--data", "d", "--exclude", "e", "--output", str(tmp_path)]
    with pytest.raises(SystemExit):
        ablation.main([*flags, "--variants", "as it is", "taught by trained networks too"])
    assert "--teachers" in capsys.readouterr().err


@pytest.fixture
def runs(monkeypatch):
    """Return the folders of the variants that are trained, without training them."""
    names = []

    def run(source, variant, settings, output, files):
        names.append(output.name)
        return (lambda example: (np.zeros((1, 3)), np.zeros(1))), 0.25

    monkeypatch.setattr(ablation, "run", run)
    monkeypatch.setattr(sources, "open_source", lambda *_: (None, sources.HeldBack(np.arange(1), np.arange(1))))
    monkeypatch.setattr(ablation.scores, "table", lambda *_: iter([("no template", "1", "0.500", "0.400")]))
    return names


def test_a_part_that_is_not_there_is_refused_before_anything_is_trained(runs, tmp_path):
    flags = ["--data", "d", "--exclude", "e", "--output", str(tmp_path), "--only", "plddt_head"]
    with pytest.raises(ConfigError, match="plddt_head is no part of mini"):
        ablation.main(flags)
    assert not runs


@pytest.mark.parametrize("teachers", [(), ("--teachers", "t.npz")])
def test_all_variants_that_can_be_are_trained(runs, tmp_path, teachers):
    assert ablation.main(["--data", "d", "--exclude", "e", "--output", str(tmp_path), *teachers]) == 0
    taught = {name.replace(" ", "_") for name, variant in ablation.VARIANTS.items() if variant.taught}
    assert len(taught) == 1
    assert set(runs) == {name.replace(" ", "_") for name in ablation.VARIANTS} - (set() if teachers else taught)


def test_what_is_in_the_table_is_not_trained_again(runs, tmp_path):
    flags = ["--data", "d", "--exclude", "e", "--output", str(tmp_path), "--variants", "as it is", "no couplings"]
    for _ in range(2):
        assert ablation.main(flags) == 0
    assert runs == ["as_it_is", "no_couplings"]
    rows = curve.read_table(tmp_path / "ablation.tsv")
    assert [row["variant"] for row in rows] == ["as it is", "no couplings"]
    assert rows[0]["CA-lDDT"] == "0.500"
    assert rows[0]["seconds of a step"] == "0.25"
