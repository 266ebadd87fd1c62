"""Relaxation: what it improves, what it keeps, and what it does when it cannot."""

import dataclasses
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import openmm
import pytest

from models import residue_constants as rc
from pipeline import quality
from pipeline.errors import ConfigError, StageError, StructureError
from pipeline.numbering import author_numbers
from pipeline.protein import Protein, read_structure
from pipeline.protein_writer import write_mmcif
from pipeline.relax import budget, ladder
from pipeline.relax.prepare import segments
from pipeline.relax.settings import RelaxFailure
from pipeline.relax.stage import Settings, main, relax, relax_isolated

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def trp_cage():
    return read_structure(GOLDEN / "1l2y_A.pdb")


@pytest.fixture(scope="module")
def bpti():
    return read_structure(GOLDEN / "1bpi_A.pdb")


def _noisy(protein, scale, seed=1):
    noise = np.random.default_rng(seed).normal(scale=scale, size=protein.atom37_positions.shape)
    return dataclasses.replace(protein, atom37_positions=(protein.atom37_positions + noise).astype(np.float32))


def _with_position(protein, residue, atom, value):
    positions = protein.atom37_positions.copy()
    positions[residue, rc.ATOM37_ID[atom]] = value
    return dataclasses.replace(protein, atom37_positions=positions)


def _select(protein, rows):
    return Protein(
        aatype=protein.aatype[rows],
        atom37_positions=protein.atom37_positions[rows],
        atom37_mask=protein.atom37_mask[rows],
        residue_index=protein.residue_index[rows],
        chain_id=protein.chain_id[rows],
        author_number=tuple(protein.author_number[i] for i in rows),
        b_factor=protein.b_factor[rows],
    )


@pytest.fixture(scope="module")
def relaxed(trp_cage):
    return relax(_noisy(trp_cage, 0.2), Settings())


def test_strain_goes(relaxed):
    record = relaxed.record
    assert (record.status, record.rung, record.reason) == ("relaxed", "full", "")
    assert record.energy_after < 0 < record.energy_before
    assert record.violations_before["violating_residues"] > 15
    assert record.violations_after["violating_residues"] == 0
    assert record.platform == "CPU"
    assert 0 < record.ca_rmsd < 0.6
    assert len(record.displacement) == 20


def test_the_users_numbers_are_no_breaks(trp_cage, tmp_path):
    numbers = author_numbers("-3-4,52,52A,101", len(trp_cage))
    write_mmcif(tmp_path / "in.cif", dataclasses.replace(trp_cage, author_number=numbers), name="x")
    files = ["--structure", "in.cif", "--output", "out.cif", "--report", "out.json"]
    paths = [str(tmp_path / word) if "." in word else word for word in files]
    assert main([*paths, "--no-isolate", "--iterations", "20", "--pdb"]) == 0
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["status"] == "relaxed"
    assert not [change for change in record["changes"] if "broken" in change]
    assert record["residues"][7:11] == ["A:LYS4", "A:ASP52", "A:GLY52A", "A:GLY101"]
    for name in ("out.cif", "out.pdb"):
        assert read_structure(tmp_path / name).author_number == numbers
    told = read_structure(tmp_path / "out.cif").described
    assert told["_software.name"] == ["Foldline", "OpenMM", "PDBFixer"]
    assert told["_ma_protocol_step.method_type"] == ["other", "model refinement"]


def test_the_protein_is_the_same(relaxed, trp_cage):
    protein = relaxed.protein
    assert protein.sequence == trp_cage.sequence
    assert protein.author_number == trp_cage.author_number
    np.testing.assert_array_equal(protein.atom37_mask, trp_cage.atom37_mask)
    np.testing.assert_array_equal(protein.b_factor, trp_cage.b_factor)
    assert protein.hydrogens is not None
    assert len(protein.hydrogens.names) == 150  # of the 304 atoms of the NMR model


def test_one_thread_is_reproducible(relaxed, trp_cage):
    again = relax(_noisy(trp_cage, 0.2), Settings())
    np.testing.assert_array_equal(again.protein.atom37_positions, relaxed.protein.atom37_positions)
    assert dataclasses.replace(again.record, seconds=0) == dataclasses.replace(relaxed.record, seconds=0)


def test_relaxed_relaxes_no_further(relaxed):
    again = relax(relaxed.protein, Settings()).record
    assert again.ca_rmsd < 0.1
    assert "150 hydrogens were placed anew" in again.changes


def test_disulfides_and_missing_atoms(bpti):
    mask = bpti.atom37_mask.copy()
    mask[9, 5:] = False
    result = relax(dataclasses.replace(bpti, atom37_mask=mask), Settings())
    assert result.record.status == "relaxed"
    assert "disulfide bond A:CYS5 A:CYS55" in result.record.changes
    assert sum(change.startswith("disulfide") for change in result.record.changes) == 3
    assert "A:TYR10 got CG CD1 CD2 CE1 CE2 OH CZ" in result.record.changes
    assert result.protein.atom37_mask[9].sum() == 12
    assert result.record.violations_after["missing_atoms"] == 0


def test_chain_break_is_kept(trp_cage):
    rows = np.r_[0:7, 11:20]
    for broken in (_select(trp_cage, rows), dataclasses.replace(_select(trp_cage, rows), residue_index=np.arange(16))):
        result = relax(broken, Settings())
        gap = [np.linalg.norm(p.atom37_positions[7, 0] - p.atom37_positions[6, 2]) for p in (broken, result.protein)]
        assert result.record.status == "relaxed"
        assert abs(gap[1] - gap[0]) < 1.0
        assert "the chain is broken between A:LEU7 and A:PRO12" in result.record.changes
        assert result.protein.author_number == broken.author_number
        # the oxygen of the terminus that the force field needs is no atom of the chain
        assert not result.protein.atom37_mask[6, rc.ATOM37_ID["OXT"]]
        assert not {"H2", "H3"} & {
            n for i, n in zip(result.protein.hydrogens.residue, result.protein.hydrogens.names, strict=True) if i == 7
        }


def test_unknown_residue_stays(trp_cage):
    aatype = trp_cage.aatype.copy()
    aatype[8] = rc.UNKNOWN
    result = relax(dataclasses.replace(trp_cage, aatype=aatype), Settings())
    assert result.record.status == "relaxed"
    assert result.protein.sequence[8] == "X"
    np.testing.assert_allclose(result.protein.atom37_positions[8], trp_cage.atom37_positions[8], atol=1e-5)
    assert 8 not in result.protein.hydrogens.residue


def test_far_from_the_origin(relaxed, trp_cage):
    moved = _noisy(trp_cage, 0.2)
    moved = dataclasses.replace(moved, atom37_positions=moved.atom37_positions + np.float32(4096))
    result = relax(moved, Settings())
    assert result.record.energy_after == pytest.approx(relaxed.record.energy_after, rel=0.05)
    assert result.record.rmsd < 1


@pytest.mark.parametrize("distance", [0.0, 0.01])
def test_atoms_in_one_place_are_parted(trp_cage, distance):
    place = trp_cage.atom37_positions[3, rc.ATOM37_ID["CG2"]] + distance
    result = relax(_with_position(trp_cage, 3, "CD1", place), Settings())
    assert result.record.status == "relaxed"
    assert "stood on another" in " ".join(result.record.changes)
    assert result.record.violations_after["violating_residues"] <= result.record.violations_before["violating_residues"]


@pytest.mark.parametrize("place", [np.nan, np.inf, -1e30])
def test_atoms_without_coordinates_are_built(trp_cage, relaxed, place):
    broken = trp_cage
    for residue, atom in ((2, "CA"), (6, "N"), (6, "CD1"), (15, "O")):
        broken = _with_position(broken, residue, atom, place)
    broken = dataclasses.replace(broken, atom37_positions=broken.atom37_positions.copy())
    broken.atom37_positions[11] = place
    result = relax(broken, Settings())
    record = result.record
    assert (record.status, record.rung, record.reason) == ("relaxed", "full", "")
    assert [change for change in record.changes if "usable" in change] == [
        "A:TYR3 CA: no usable coordinates, taken as missing",
        "A:LEU7 N CD1: no usable coordinates, taken as missing",
        "A:PRO12 has no atom with usable coordinates and is left without atoms",
        "A:ARG16 O: no usable coordinates, taken as missing",
    ]
    assert not result.protein.atom37_mask[11].any()
    others = np.arange(20) != 11
    np.testing.assert_array_equal(result.protein.atom37_mask[others], trp_cage.atom37_mask[others])
    off = np.linalg.norm(result.protein.atom37_positions - trp_cage.atom37_positions, axis=-1)
    for residue, atom in ((2, "CA"), (6, "N"), (15, "O")):
        assert off[residue, rc.ATOM37_ID[atom]] < 0.6  # where they were
    assert record.rmsd < 0.5
    assert record.violations_after["violating_residues"] == 0


@pytest.mark.parametrize(
    ("case", "failure", "reason"),
    [
        ("nowhere", "coordinates", "no two residues are bonded"),
        ("single", "coordinates", "no two residues are bonded"),
        ("collapsed", "budget|overlap", "budget|overlap"),
        ("platform", "platform", "CUDA"),
    ],
)
def test_failures_hand_the_input_on(trp_cage, case, failure, reason):
    settings = Settings(iterations=100)
    protein = trp_cage
    if case == "nowhere":
        protein = dataclasses.replace(trp_cage, atom37_positions=trp_cage.atom37_positions * np.float32(np.nan))
    elif case == "single":
        protein = _select(trp_cage, np.array([4]))
    elif case == "collapsed":
        protein = dataclasses.replace(trp_cage, atom37_positions=trp_cage.atom37_positions * 0)
    else:
        settings = Settings(platform="CUDA")
    result = relax(protein, settings)
    if case == "platform" and result.record.status == "relaxed":
        pytest.skip("there is a CUDA device")
    assert (result.record.status, result.record.rung) == ("unrelaxed", "none")
    assert result.record.failure in failure.split("|")
    assert any(part in result.record.reason for part in reason.split("|"))
    assert result.protein is protein


def test_budget_of_iterations(trp_cage):
    record = relax(_noisy(trp_cage, 0.1), Settings(iterations=13)).record
    assert record.iterations <= 14
    assert record.failure == "budget"
    assert "iterations" in record.reason


def test_budget_from_outside(trp_cage):
    result = relax_isolated(trp_cage, Settings(seconds=1e-6))
    assert (result.record.status, result.record.failure) == ("unrelaxed", "budget")
    assert result.record.reason == "the budget was spent: ended from outside"
    assert result.record.violations_before == quality.assess(trp_cage)
    assert result.protein is trp_cage


@pytest.mark.parametrize("left", [-1.0, 0.0], ids=["before it starts", "with none left for it"])
def test_seconds_that_are_over_begin_nothing(trp_cage, monkeypatch, left):
    monkeypatch.setattr(ladder, "prepare", None)  # is not called
    settings = Settings(seconds=100)
    result = relax(trp_cage, settings, time.monotonic() + left - 95)
    assert (result.record.status, result.record.failure) == ("unrelaxed", "budget")
    assert "its seconds were over before anything could be minimised" in result.record.reason
    assert result.protein is trp_cage


def test_seconds_that_the_preparation_takes_are_counted(trp_cage, monkeypatch):
    """A structure whose hydrogens take the time that there is comes out as it was, and no rung is begun."""
    clock, place = Clock(), openmm.app.Modeller.addHydrogens

    def slow(*arguments, **named):
        clock.now += 1000
        return place(*arguments, **named)

    monkeypatch.setattr(budget, "time", clock)
    monkeypatch.setattr(openmm.app.Modeller, "addHydrogens", slow)
    monkeypatch.setattr(ladder, "LADDER", ())
    result = relax(trp_cage, Settings())
    assert (result.record.status, result.record.failure) == ("unrelaxed", "budget")
    assert result.protein is trp_cage


def test_seconds_that_run_out_stop_the_minimiser_where_it_is(trp_cage, monkeypatch):
    clock, report = Clock(), budget.Reporter.report

    def slow(self, *arguments):
        clock.now += 10
        return report(self, *arguments)

    monkeypatch.setattr(budget, "time", clock)
    monkeypatch.setattr(budget.Reporter, "report", slow)
    record = relax(_noisy(trp_cage, 0.1), Settings(seconds=300)).record
    assert (record.status, record.rung, record.failure) == ("relaxed", "full", "budget")
    assert record.reason == "the budget of seconds was spent before the end"
    assert 10 < record.iterations < 30
    assert record.energy_after < record.energy_before


def test_where_the_seconds_are_over_no_lower_rung_is_begun(trp_cage, monkeypatch):
    clock, rungs = Clock(), []

    def fail(task, part):
        rungs.append(part)
        clock.now += 1000
        part.stopped = "seconds"
        raise RelaxFailure("worse")

    monkeypatch.setattr(budget, "time", clock)
    monkeypatch.setattr(ladder, "LADDER", (("full", fail), ("local", fail)))
    record = relax(trp_cage, Settings()).record
    assert (len(rungs), record.failure, record.status) == (1, "budget", "unrelaxed")


class Clock:
    """The clock of a budget, put forward by hand."""

    def __init__(self):
        self.now = time.monotonic()

    def monotonic(self):
        return self.now


def test_a_crash_is_a_reason(trp_cage, monkeypatch):
    monkeypatch.setenv("OPENMM_CPU_THREADS", "1")
    record = relax_isolated(
        trp_cage, dataclasses.replace(Settings(), platform=17)
    ).record  # a type that nothing expects
    assert record.status == "unrelaxed"
    assert record.failure == "crash"
    assert "exit code 1" in record.reason


def test_segments(trp_cage):
    whole, changes = segments(trp_cage)
    assert whole == (slice(0, 20),)
    assert changes == ()
    two = dataclasses.replace(trp_cage, chain_id=np.array(["A"] * 9 + ["B"] * 11))
    assert segments(two)[0] == (slice(0, 9), slice(9, 20))
    alone = dataclasses.replace(trp_cage, chain_id=np.array(["A"] * 19 + ["B"]))
    assert segments(alone) == ((slice(0, 19),), ("B:SER20 is left as it is: it stands alone",))
    # a jump of the numbering where nothing is missing, as in antibodies, is no break
    assert segments(dataclasses.replace(trp_cage, residue_index=np.arange(20) * 2))[0] == whole


def test_settings_are_checked():
    with pytest.raises(ConfigError, match=r"relax\.iterations: expected a finite number above 0, found 0"):
        Settings(iterations=0)
    with pytest.raises(ConfigError, match=r"relax\.seconds: expected a finite number above 0, found inf"):
        Settings(seconds=float("inf"))
    with pytest.raises(ConfigError, match=r"relax\.stiffness: expected a finite number of at least 0"):
        Settings(stiffness=float("inf"))


def _flags(tmp_path, structure):
    return ["--structure", str(structure), "--output", str(tmp_path / "y.cif"), "--report", str(tmp_path / "y.json")]


def test_main(trp_cage, tmp_path):
    write_mmcif(tmp_path / "x.cif", dataclasses.replace(trp_cage, b_factor=np.arange(20.0)), name="x", title="a title")
    assert main([*_flags(tmp_path, tmp_path / "x.cif"), "--pdb"]) == 0
    record = json.loads((tmp_path / "y.json").read_text())
    assert record["schema"] == "foldline.relax/1"
    assert (record["target"], record["status"]) == ("x", "relaxed")
    assert (record["settings"]["stiffness"], record["settings"]["pdb"]) == (10.0, True)
    for path in (tmp_path / "y.cif", tmp_path / "y.pdb"):
        written = read_structure(path)
        assert written.title == "a title"
        assert list(written.b_factor) == list(range(20))
        assert quality.assess(written)["violating_residues"] == 0


def test_main_hands_on(trp_cage, tmp_path):
    write_mmcif(tmp_path / "x.cif", _select(trp_cage, np.array([4])), name="x")
    assert main([*_flags(tmp_path, tmp_path / "x.cif"), "--no-isolate"]) == 0
    assert json.loads((tmp_path / "y.json").read_text())["status"] == "unrelaxed"
    assert (tmp_path / "y.cif").is_file()
    with pytest.raises(StageError, match="not fully relaxed: the input has no usable coordinates"):
        main([*_flags(tmp_path, tmp_path / "x.cif"), "--no-isolate", "--strict"])


def test_main_refuses_what_it_cannot_read(tmp_path):
    (tmp_path / "x.cif").write_text("data_x\n")
    with pytest.raises(StructureError, match="without atoms"):
        main(_flags(tmp_path, tmp_path / "x.cif"))
    assert not (tmp_path / "y.cif").exists()


def test_import_is_light():
    code = "import sys, pipeline.relax; print(sorted({'jax', 'haiku', 'openmm', 'pdbfixer'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("output", ["in.cif", "in.pdb"])
def test_no_file_is_written_over(tmp_path, output):
    structure = tmp_path / "in.pdb"
    structure.write_bytes((GOLDEN / "1l2y_A.pdb").read_bytes())
    flags = ["--structure", str(structure), "--output", str(tmp_path / output), "--report", str(tmp_path / "r.json")]
    with pytest.raises(ConfigError, match="would be written over"):
        main([*flags, "--pdb"])
    assert structure.read_bytes() == (GOLDEN / "1l2y_A.pdb").read_bytes()
