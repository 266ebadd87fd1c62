"""The command that makes features: of one target and of a batch, what is made again, what a failure costs."""

import errno
import json

import pytest

from pipeline.batch_record import outcome, write_batch
from pipeline.errors import AlignmentError, ConfigError, RecordError, StageError, UsageError
from pipeline.features import RawFeatures
from pipeline.featurize import stage
from pipeline.featurize.stage import main
from pipeline.records import read_json
from pipeline.templates import TemplateHit, TemplateHits, write_templates

NONE = TemplateHits({}, ())
SEQUENCE = "MKLAWGDXRTY"
HIT = TemplateHit(
    id="1ABC_A",
    index=0,
    e_value=1e-9,
    score=50.0,
    identity=0.5,
    coverage=0.5,
    query_start=2,
    query_alignment="LAW-GD",
    template_start=1,
    template_alignment="KG-ADE",
    sum_probs=4.0,
)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.fasta").write_text(f">a\n{SEQUENCE}\n")
    (tmp_path / "a.a3m").write_text(f">a\n{SEQUENCE}\n>b\n{'-' * 10}Y\n")
    write_templates(tmp_path / "t.json", NONE)
    words = ["--fasta", tmp_path / "a.fasta", "--msa", tmp_path / "a.a3m", "--templates", tmp_path / "t.json"]
    return [*map(str, words), "--output", str(tmp_path / "features.npz")]


def test_main(files, tmp_path):
    assert main(files) == 0
    assert RawFeatures.load(tmp_path / "features.npz").msa.shape == (2, 11)


def test_residue_numbers_change_no_feature(files, tmp_path):
    assert main(files) == 0
    before = (tmp_path / "features.npz").read_bytes()
    fasta = tmp_path / "a.fasta"
    fasta.write_text(fasta.read_text().replace(">a", ">a numbering=-3-2,17,17A,50"))
    assert main(files) == 0
    assert (tmp_path / "features.npz").read_bytes() == before


def test_main_without_the_library_that_it_needs(files, tmp_path):
    write_templates(tmp_path / "t.json", TemplateHits({"name": "tiny", "version": "1"}, (HIT,)))
    with pytest.raises(ConfigError, match="a: the target has templates, but no library is given; give --library"):
        main(files)
    assert not (tmp_path / "features.npz").exists()
    assert main([*files, "--max-templates", "0"]) == 0


def test_main_with_damaged_files(files, tmp_path):
    (tmp_path / "a.a3m").write_text(">a\nMK")
    with pytest.raises(AlignmentError, match="a: expected an alignment of 11 residues"):
        main(files)
    (tmp_path / "t.json").write_text("{")
    with pytest.raises(RecordError, match="it is damaged"):
        main(files)


def test_main_needs_files_or_folders(files):
    with pytest.raises(UsageError, match="give --targets, or --fasta, --msa, --templates and --output"):
        main(files[:4])


@pytest.fixture
def batch(tmp_path):
    """Three targets that were searched together; the search of `b` failed."""
    for name in "abc":
        folder = tmp_path / name
        folder.mkdir()
        (folder / "target.fasta").write_text(f">{name}\n{SEQUENCE}\n")
        if name != "b":
            (folder / "msa.a3m").write_text(f">{name}\n{SEQUENCE}\n>x\n{'-' * 10}{'A' if name == 'a' else 'C'}\n")
            write_templates(folder / "templates.json", NONE)
    write_batch(tmp_path / "search-0001.json", [outcome("a"), outcome("b", "no such file"), outcome("c")])
    return [tmp_path / name for name in "abc"]


def run(tmp_path, folders, *words):
    flags = ["--search", str(tmp_path / "search-0001.json"), "--batch", str(tmp_path / "featurize-0001.json")]
    assert main(["--targets", *map(str, folders), *flags, *words]) == 0
    return {
        entry["name"]: entry for entry in read_json(tmp_path / "featurize-0001.json", "foldline.batch/1")["targets"]
    }


def test_a_batch_makes_what_it_can_and_says_what_failed(batch, tmp_path):
    (tmp_path / "c/msa.a3m").write_text(">c\nMK\n")
    said = run(tmp_path, batch)
    assert {name: entry["status"] for name, entry in said.items()} == {"a": "ok", "b": "failed", "c": "failed"}
    assert said["b"]["reason"] == "search failed: no such file"
    assert said["c"]["reason"].startswith("c: expected an alignment of 11 residues, its first row has 2")
    assert len(RawFeatures.load(tmp_path / "a/features.npz").msa) == 2
    for name, reason in (("b", "^search failed: no such file$"), ("c", "^c: expected an alignment of 11 residues")):
        with pytest.raises(StageError, match=reason):
            RawFeatures.load(tmp_path / name / "features.npz")
        assert not (tmp_path / name / "features.json").exists()


def test_what_is_there_is_not_made_again(batch, tmp_path):
    run(tmp_path, batch)
    features = [tmp_path / name / "features.npz" for name in "ac"]
    record = json.loads((tmp_path / "a/features.json").read_text())
    assert (record["rows"], record["different_rows"], record["templates"]) == (2, 2, [])
    times = [path.stat().st_mtime_ns for path in features]
    first = run(tmp_path, batch)
    assert [path.stat().st_mtime_ns for path in features] == times
    whole = features[0].read_bytes()
    features[0].write_bytes(whole[:-9])
    (tmp_path / "c/msa.a3m").write_text(f">c\n{SEQUENCE}\n")
    second = run(tmp_path, batch)
    assert features[0].read_bytes() == whole
    assert first["a"] == second["a"]
    assert first["c"]["features_sha256"] != second["c"]["features_sha256"]
    assert all(path.stat().st_mtime_ns > time for path, time in zip(features, times, strict=True))


def test_another_setting_makes_them_again(batch, tmp_path):
    run(tmp_path, batch)
    before = (tmp_path / "a/features.npz").stat().st_mtime_ns
    run(tmp_path, batch, "--max-templates", "3")
    assert (tmp_path / "a/features.npz").stat().st_mtime_ns > before
    assert json.loads((tmp_path / "a/features.json").read_text())["made_from"]["max_templates"] == 3


def test_nothing_old_stands_for_a_target_that_fails_now(batch, tmp_path):
    run(tmp_path, batch)
    (tmp_path / "a/templates.json").write_text("{")
    assert run(tmp_path, batch)["a"]["status"] == "failed"
    with pytest.raises(StageError, match="it is damaged"):
        RawFeatures.load(tmp_path / "a/features.npz")
    write_templates(tmp_path / "a/templates.json", NONE)
    assert run(tmp_path, batch)["a"]["status"] == "ok"


@pytest.fixture
def failing(monkeypatch):
    """Return a function after which a file's checksum cannot be taken."""
    original = stage.sha256

    def fail(name, code):
        def sha256(path):
            if path.match(name):
                raise OSError(code, "Some reason", str(path))
            return original(path)

        monkeypatch.setattr(stage, "sha256", sha256)

    return fail


def test_a_file_that_cannot_be_read_costs_one_target(batch, tmp_path, failing):
    run(tmp_path, batch)
    failing("a/msa.a3m", errno.EIO)
    said = run(tmp_path, batch)
    assert {name: entry["status"] for name, entry in said.items()} == {"a": "failed", "b": "failed", "c": "ok"}
    assert "Some reason" in said["a"]["reason"]
    with pytest.raises(StageError, match="Some reason"):
        RawFeatures.load(tmp_path / "a/features.npz")


@pytest.mark.parametrize("unsearched", [True, False])
def test_a_folder_that_cannot_be_written_costs_one_target(batch, tmp_path, monkeypatch, caplog, unsearched):
    closed = tmp_path / ("b" if unsearched else "a")

    def refusing(write, place):
        def run(*arguments):
            if arguments[place].parent == closed:
                raise PermissionError(errno.EACCES, "Permission denied", str(arguments[place]))
            write(*arguments)

        return run

    monkeypatch.setattr(stage, "write_failure", refusing(stage.write_failure, 0))
    monkeypatch.setattr(RawFeatures, "save", refusing(RawFeatures.save, 1))
    said = run(tmp_path, batch)
    assert said[closed.name]["status"] == "failed"
    assert said["c"]["status"] == "ok"
    assert f"{closed.name}: cannot say so in its folder: " in caplog.text


def test_a_full_disk_ends_the_batch(batch, tmp_path, failing):
    failing("a/msa.a3m", errno.ENOSPC)
    with pytest.raises(OSError, match="Some reason"):
        run(tmp_path, batch)
