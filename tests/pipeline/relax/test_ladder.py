"""The rungs, the protocols, and which predictions are relaxed."""

import dataclasses
import json

import numpy as np
import openmm
import pytest

from models import residue_constants as rc
from pipeline import quality
from pipeline.errors import ConfigError, StageError
from pipeline.protein import read_structure
from pipeline.protein_writer import write_mmcif
from pipeline.ranking import RANKING_SCHEMA
from pipeline.records import write_json
from pipeline.relax import build, ladder
from pipeline.relax.settings import FAILURES, PROTOCOLS, RelaxFailure
from pipeline.relax.stage import Settings, main, relax


@pytest.fixture(scope="module")
def cage(golden):
    return read_structure(golden / "1l2y_A.pdb")


@pytest.fixture(scope="module")
def noisy(cage):
    noise = np.random.default_rng(5).normal(scale=0.2, size=cage.atom37_positions.shape)
    return dataclasses.replace(cage, atom37_positions=(cage.atom37_positions + noise).astype(np.float32))


@pytest.fixture(scope="module")
def strained(cage):
    """Return Trp-cage with one bad place, at its end."""
    positions = cage.atom37_positions.copy()
    og, cb = (rc.ATOM37_ID[name] for name in ("OG", "CB"))
    positions[19, og] += 0.7 * (positions[19, og] - positions[19, cb])  # a bond of 2.4 A
    return dataclasses.replace(cage, atom37_positions=positions)


def refuse(*names):
    """Return a ladder whose rungs of these names fail."""

    def fail(task, budget):
        raise RelaxFailure("worse", "refused here")

    return tuple((name, fail if name in names else rung) for name, rung in ladder.LADDER)


def test_the_second_rung_moves_the_bad_place_alone(strained, monkeypatch):
    monkeypatch.setattr(ladder, "LADDER", refuse("full"))
    assert quality.violations(strained).residues[19]
    result = relax(strained, Settings())
    record = result.record
    assert (record.status, record.rung, record.failure) == ("relaxed", "local", "worse")
    assert "full: the minimised structure is worse: refused here" in record.reason
    assert record.attempts == ({"rung": "full", "failure": "worse", "reason": f"{FAILURES['worse']}: refused here"},)
    assert not quality.violations(result.protein).residues[19]
    still = np.linalg.norm(result.protein.atom37_positions - strained.atom37_positions, axis=-1)[2:10]
    assert still[strained.atom37_mask[2:10]].max() < 1e-4


def test_the_second_rung_is_not_the_first_again(noisy, monkeypatch):
    monkeypatch.setattr(ladder, "LADDER", refuse("full"))
    record = relax(noisy, Settings()).record  # in violation everywhere
    assert record.rung == "hydrogens"
    assert [attempt["rung"] for attempt in record.attempts] == ["full", "local"]
    assert "no smaller part" in record.attempts[1]["reason"]


def test_the_third_rung_moves_no_heavy_atom(noisy, monkeypatch):
    monkeypatch.setattr(ladder, "LADDER", refuse("full", "local"))
    result = relax(noisy, Settings())
    assert (result.record.status, result.record.rung, result.record.rmsd) == ("relaxed", "hydrogens", 0.0)
    assert result.record.energy_after < result.record.energy_before
    assert len(result.protein.hydrogens.names) == 150
    apart = np.linalg.norm(result.protein.atom37_positions - noisy.atom37_positions, axis=-1)
    assert apart[noisy.atom37_mask].max() < 1e-4


def test_where_all_rungs_fail_the_first_reason_counts(cage, monkeypatch):
    monkeypatch.setattr(ladder, "LADDER", refuse("full", "local", "hydrogens"))
    result = relax(cage, Settings())
    assert (result.record.status, result.record.failure) == ("unrelaxed", "worse")
    assert "hydrogens: " in result.record.reason
    assert result.protein is cage


OUT_OF_MEMORY = (MemoryError(), openmm.OpenMMException("Error creating array: CUDA_ERROR_OUT_OF_MEMORY (2)"))


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["Python", "OpenMM"])
def test_where_memory_runs_out_a_smaller_rung_is_tried(strained, monkeypatch, error):
    calls, minimize = [], openmm.LocalEnergyMinimizer.minimize

    def fail_at_first(context, *arguments):
        calls.append(any(isinstance(force, openmm.NonbondedForce) for force in context.getSystem().getForces()))
        if calls.count(True) == 1:
            raise error
        return minimize(context, *arguments)

    monkeypatch.setattr(openmm.LocalEnergyMinimizer, "minimize", fail_at_first)
    record = relax(strained, Settings(iterations=50)).record
    assert (record.status, record.rung, record.failure) == ("relaxed", "local", "memory")
    assert record.attempts[0]["reason"].startswith("memory ran out")


def test_where_memory_runs_out_before_the_first_rung_the_input_is_handed_on(cage, monkeypatch):
    def fail(*arguments, **named):
        raise MemoryError

    monkeypatch.setattr(openmm.app.ForceField, "createSystem", fail)
    result = relax(cage, Settings())
    assert (result.record.status, result.record.failure, result.record.reason) == (
        *("unrelaxed", "memory"),
        "memory ran out",
    )
    assert result.protein is cage


def test_a_residue_that_the_force_field_does_not_know(cage, monkeypatch):
    monkeypatch.setitem(build.FORCE_FIELDS, "amber99sb", "tip3p.xml")  # OpenMM's, of water
    build._force_field.cache_clear()
    record = relax(cage, Settings(force_field="amber99sb")).record
    build._force_field.cache_clear()
    assert (record.status, record.failure) == ("unrelaxed", "template")
    assert "No template found for residue 0 (ASN)" in record.reason


def test_an_energy_that_is_no_number_ends_a_rung_at_once(strained, monkeypatch):
    """Restraints of an infinite energy: each rung is tried once, and the one without restraints succeeds."""
    calls, minimize = [], openmm.LocalEnergyMinimizer.minimize

    def counted(context, *arguments):
        forces = context.getSystem().getForces()
        calls.append(any(isinstance(force, openmm.NonbondedForce) for force in forces))
        return minimize(context, *arguments)

    monkeypatch.setattr(openmm.LocalEnergyMinimizer, "minimize", counted)
    record = relax(strained, Settings(stiffness=1e308)).record
    assert (record.status, record.rung, record.failure) == ("relaxed", "hydrogens", "energy")
    assert [attempt["rung"] for attempt in record.attempts] == ["full", "local"]
    assert record.attempts[0]["reason"].startswith("the energy is no number")
    assert calls.count(True) <= 4  # one for each rung, one for the placing of hydrogens


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (openmm.OpenMMException("Particle coordinate is NaN.  For more information, see ..."), "energy"),
        (openmm.OpenMMException("Energy or force at minimization starting point is infinite or NaN."), "energy"),
        (openmm.OpenMMException('There is no registered Platform called "CUDA"'), "platform"),
        (openmm.OpenMMException("Error creating array: CL_MEM_OBJECT_ALLOCATION_FAILURE"), "memory"),
        (openmm.OpenMMException("Called addForce() with wrong number of particles"), "topology"),
        (MemoryError(), "memory"),
        (ValueError("No template found for residue 3 (XYZ)"), "template"),
        (KeyError("SG"), "topology"),
    ],
)
def test_what_the_physics_raises_has_a_class(error, kind):
    with pytest.raises(RelaxFailure, match=FAILURES[kind]) as caught, ladder._classified():
        raise error
    assert caught.value.kind == kind


def test_alphafold2s_protocol(noisy):
    settings = Settings(protocol="alphafold2", stiffness=1.0)
    assert {name: getattr(settings.resolved(), name) for name in PROTOCOLS["alphafold2"]} == PROTOCOLS["alphafold2"]
    record = relax(noisy, settings).record
    assert (record.protocol, record.force_field, record.solvent) == ("alphafold2", "amber99sb", "none")
    assert (record.status, record.rung) == ("relaxed", "full")
    assert record.violations_after["violating_residues"] == 0


def test_low_plddt_is_held_less(cage, noisy):
    b = np.where(np.arange(20) < 10, 95.0, 30.0).astype(np.float32)
    predicted = dataclasses.replace(noisy, b_factor=b, has_plddt=True)
    with_confidence, without = (np.array(relax(predicted, Settings(confidence=c)).record.displacement) for c in (1, 0))
    assert with_confidence[10:].mean() > without[10:].mean() * 1.1
    assert with_confidence[:10].mean() < without[:10].mean() * 1.1


def test_forced_disulfides(golden):
    bpti = read_structure(golden / "1bpi_A.pdb")
    record = relax(bpti, Settings(bridges=("A:5-A:14",), disulfide=0.0, iterations=5)).record
    assert [change for change in record.changes if "disulfide" in change] == ["disulfide bond A:CYS5 A:CYS14"]
    for pair, words in (("A:5-A:6", "A:6 is no cysteine"), ("A:5-A:99", "A:99 is no cysteine")):
        record = relax(bpti, Settings(bridges=(pair,))).record
        assert (record.status, record.failure) == ("unrelaxed", "template")
        assert words in record.reason
    with pytest.raises(ConfigError, match=r"relax\.bridges: expected two residues such as A:5-A:55, found 'A5-A55'"):
        Settings(bridges=("A5-A55",))


def test_histidines_are_named(golden, cage):
    aatype = cage.aatype.copy()
    aatype[9] = rc.RESTYPE_ID["H"]
    histidine = dataclasses.replace(cage, aatype=aatype)
    changes = relax(histidine, Settings(iterations=20)).record.changes
    assert {"A:HIS10 is HIE", "A:HIS10 is HID"} & set(changes)
    assert "A:HIS10 is HIP" in relax(histidine, Settings(iterations=20, ph=4.0)).record.changes


def test_dynamics_for_bad_starts(cage):
    noise = np.random.default_rng(5).normal(scale=0.5, size=cage.atom37_positions.shape)
    bad = dataclasses.replace(cage, atom37_positions=(cage.atom37_positions + noise).astype(np.float32))
    first, second = (relax(bad, Settings(dynamics=0.1)) for _ in range(2))
    assert first.record.status == "relaxed"
    assert first.record.violations_after["violating_residues"] == 0
    np.testing.assert_array_equal(first.protein.atom37_positions, second.protein.atom37_positions)
    still = relax(bad, Settings()).protein.atom37_positions
    assert not np.array_equal(first.protein.atom37_positions, still)


def test_implicit_solvent(cage):
    short = dataclasses.replace(cage, atom37_mask=cage.atom37_mask & (np.arange(20) < 5)[:, None])
    record = relax(short, Settings(solvent="gbn2", iterations=30)).record
    assert (record.solvent, record.status) == ("gbn2", "relaxed")
    vacuum = relax(short, Settings(iterations=30)).record
    assert record.energy_after < vacuum.energy_after  # charges are happier in water


@pytest.fixture
def target(tmp_path, cage, noisy):
    """Return a target's folder with two predictions, the second ranked first."""
    for name in ("model_1-0", "model_2-0"):
        (tmp_path / "models" / name).mkdir(parents=True)
        predicted = dataclasses.replace(noisy, b_factor=np.full(20, 60.0, np.float32), has_plddt=True)
        write_mmcif(tmp_path / "models" / name / "predicted.cif", predicted, name="x")
    write_mmcif(tmp_path / "predicted.cif", predicted, name="x")
    ranked = [{"folder": "models/model_2-0"}, {"folder": "models/model_1-0"}]
    write_json(tmp_path / "ranking.json", {"ranked": ranked}, RANKING_SCHEMA)
    return tmp_path


def flags(folder, *more):
    files = ["--structure", str(folder / "predicted.cif"), "--output", str(folder / "relaxed.cif")]
    records = ["--report", str(folder / "relax.json"), "--ranking", str(folder / "ranking.json")]
    return [*files, *records, "--no-isolate", "--iterations", "40", *more]


def test_all_models(target):
    assert main(flags(target, "--models", "all")) == 0
    for name in ("model_1-0", "model_2-0"):
        record = json.loads((target / "models" / name / "relax.json").read_text())
        assert record["status"] == "relaxed"
        assert (target / "models" / name / "relaxed.cif").is_file()
    assert main(flags(target)) == 0  # the best alone: nothing old stays beside the others
    assert not list(target.glob("models/*/relax*"))
    assert (target / "relaxed.cif").is_file()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["--models", "none"], "not asked for (relax.models is none)"),
        (["--min-plddt", "70"], "the mean pLDDT of 60.0 is below 70 (relax.min_plddt)"),
    ],
)
def test_models_that_are_not_relaxed(target, more, reason):
    assert main(flags(target, "--strict", *more)) == 0
    record = json.loads((target / "relax.json").read_text())
    assert (record["status"], record["reason"], record["failure"]) == ("unrelaxed", reason, "")
    assert read_structure(target / "relaxed.cif").hydrogens is None


def test_strict_counts_a_lower_rung_as_an_error(target, monkeypatch):
    monkeypatch.setattr(ladder, "LADDER", refuse("full", "local"))
    with pytest.raises(StageError, match="not fully relaxed: full: the minimised structure is worse"):
        main(flags(target, "--strict"))
