"""The command: which targets it reports on, what it gathers, what it refuses."""

import base64
import gzip
import json

import pytest

from pipeline import failures
from pipeline.batch_record import outcome, reasons_in, write_batch
from pipeline.errors import FoldlineError
from pipeline.report import stage as report


def packed_rows(page):
    """Return the rows that a run's page holds for its script."""
    return json.loads(gzip.decompress(base64.b64decode(page.scripts[0])))


def test_pages_are_gathered_under_the_names_of_their_targets(tmp_path, samples):
    for name in ("a", "b", "without"):
        folder = samples.make_target(tmp_path, name, upto="search")
        if name != "without":
            samples.target_page(tmp_path, folder)
    into = tmp_path / "pages"
    for _ in range(2):
        assert report.main(["--run", str(tmp_path), "--pages", str(into)]) == 0
        assert {path.name for path in into.iterdir()} == {"a.html", "b.html"}
    assert (into / "a.html").read_bytes() == (tmp_path / "targets/a/report.html").read_bytes()


def test_names_choose_the_targets(tmp_path, samples):
    for name in ("old", "new"):
        samples.make_target(tmp_path, name)
    (tmp_path / "targets.txt").write_text("new\n")
    samples.run_page(tmp_path, "--names", str(tmp_path / "targets.txt"))
    assert list(samples.rows(tmp_path)) == ["new"]


def test_thumbnails_are_limited(tmp_path, samples):
    for name in ("a", "b", "c"):
        samples.make_target(tmp_path, name)
    page = samples.Page(samples.run_page(tmp_path, "--thumbnails", "2"))
    assert sum("paths" in row for row in packed_rows(page)) == 0  # those of the first page are drawn
    assert sum(tag == "svg" and attrs["data-figure"] == "trace" for tag, attrs in page.tags) == 2


def test_one_damaged_target_costs_one_row(tmp_path, samples):
    samples.make_target(tmp_path, "good")
    (samples.make_target(tmp_path, "bad") / "relax.json").write_text("{")
    samples.run_page(tmp_path)
    table = samples.rows(tmp_path)
    assert table["good"]["status"] == "relaxed"
    assert table["bad"]["status"] == "failed"
    assert "relax.json" in table["bad"]["reason"]


def test_a_record_that_another_job_begins_anew_costs_no_page(tmp_path, samples, monkeypatch):
    """Snakemake removes the old record of a batch just before its job."""
    folder = samples.make_target(tmp_path, "mine")
    for name in ("0032-001", "0064-001"):
        write_batch(tmp_path / f"batches/{name}.json", [outcome(name, "out of memory")])

    def begun_anew(path):
        path.unlink()
        return reasons_in(path)

    monkeypatch.setattr(failures, "reasons_in", begun_anew)
    batch = tmp_path / "batches/report-0032-001.json"
    assert report.main(["--targets", str(folder), "--run", str(tmp_path), "--batch", str(batch)]) == 0
    assert reasons_in(batch) == {}
    assert "Predicted and relaxed." in samples.Page((folder / "report.html").read_text()).words


def test_a_page_that_cannot_be_written_costs_one_target(tmp_path, samples):
    folders = [samples.make_target(tmp_path, name) for name in ("a", "b")]
    (folders[0] / "report.html").mkdir()
    batch = tmp_path / "batches/report-0032-001.json"
    assert report.main(["--targets", *map(str, folders), "--run", str(tmp_path), "--batch", str(batch)]) == 0
    assert list(reasons_in(batch)) == ["a"]
    assert (folders[1] / "report.html").is_file()


def test_a_target_is_called_as_its_folder_however_that_is_written(tmp_path, samples, monkeypatch):
    folder = samples.make_target(tmp_path, "kinase", header="kinase of mine")
    monkeypatch.chdir(folder)
    assert report.main(["--target-dir", ".", "--output", "p.html"]) == 0
    page = samples.Page((folder / "p.html").read_text())
    assert "kinase" in page.words.split()[:3]
    assert "relaxed.cif" in {attributes.get("href") for tag, attributes in page.tags if tag == "a"}
    write_batch(tmp_path / "batches/0032-001.json", [outcome("kinase", "out of memory")])
    assert report.main(["--target-dir", ".", "--output", "p.html"]) == 0
    assert "No structure: out of memory" in samples.Page((folder / "p.html").read_text()).words
    (folder / "relax.json").write_text("{")
    (tmp_path / "batches/0032-001.json").unlink()
    assert report.main(["--targets", ".", "--batch", "batch.json"]) == 0
    assert list(reasons_in(folder / "batch.json")) == ["kinase"]


# Errors ---------------------------------------------------------------------------------------------------------------


def test_a_run_without_targets_is_an_error(tmp_path, samples):
    with pytest.raises(FoldlineError, match="expected target folders"):
        samples.run_page(tmp_path)


def test_nothing_to_report_on_is_an_error(tmp_path):
    with pytest.raises(FoldlineError, match="expected --target-dir or --run"):
        report.main(["--output", str(tmp_path / "x.html")])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "give --output, --figures or --pages, or --targets and --run"),
        (("--figures", "f", "--dpi", "7"), "expected --dpi from 30 to 1200, found 7"),
    ],
)
def test_flags_that_say_too_little_or_nonsense(tmp_path, flags, message):
    with pytest.raises(FoldlineError, match=message):
        report.main(["--run", str(tmp_path), *flags])


def test_a_missing_list_of_names_is_an_error(tmp_path, samples):
    with pytest.raises(FoldlineError, match="expected a file with a target name per line"):
        samples.run_page(tmp_path, "--names", str(tmp_path / "none.txt"))
