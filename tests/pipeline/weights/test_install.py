"""Fetching and importing parameters."""

import collections
import logging
import os
import shutil
from pathlib import Path

import pytest

from pipeline.errors import DownloadError, WeightsError
from pipeline.lock import alone
from pipeline.weights import records
from pipeline.weights.install import Fetch, Import, fetch, import_files
from pipeline.weights.records import read_record

Usage = collections.namedtuple("Usage", "total used free")


def test_everything(tiny, misbehave, folder, caplog):
    caplog.set_level(logging.INFO, "pipeline")
    with misbehave.Web(tiny.archive) as web:
        tiny.fetch(web)
    assert tiny.here() == tiny.installed
    assert all((folder / name).read_bytes() == data for name, data in tiny.files.items())
    entries = read_record(tiny.published)
    assert {name: entry.sha256 for name, entry in entries.items()} == {n: tiny.sha256(d) for n, d in tiny.files.items()}
    assert {entry.source for entry in entries.values()} == {web.url("mirror.tar")}
    assert entries["params_model_1.npz"].bytes == 150
    assert tiny.checked == list(tiny.files)
    assert "left out: 1 of complexes (multimer)" in caplog.text


def test_twice_fetches_once(tiny, misbehave, caplog):
    caplog.set_level(logging.INFO, "pipeline")
    with misbehave.Web(tiny.archive) as web:
        tiny.fetch(web)
        tiny.fetch(web)
    assert len(web.requests) == 1
    assert "all 2 files are here and verified" in caplog.messages[-1]


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"other")])
def test_what_is_missing_or_damaged_is_fetched_again(tiny, misbehave, folder, damage):
    with misbehave.Web(tiny.archive) as web:
        tiny.fetch(web)
        untouched = (folder / "params_model_1_ptm.npz").stat().st_ino
        damage(folder / "params_model_1.npz")
        tiny.fetch(web)
    assert (folder / "params_model_1.npz").read_bytes() == tiny.files["params_model_1.npz"]
    assert (folder / "params_model_1_ptm.npz").stat().st_ino == untouched
    assert len(web.requests) == 2


def test_files_that_were_there_are_recorded(tiny, misbehave, folder):
    folder.mkdir(parents=True)
    (folder / "params_model_1.npz").write_bytes(b"good, from elsewhere")
    (folder / "params_model_1_ptm.npz").write_bytes(b"bad")
    with misbehave.Web(tiny.archive) as web:
        tiny.fetch(web)
    assert (folder / "params_model_1.npz").read_bytes() == b"good, from elsewhere"
    assert read_record(tiny.published)["params_model_1.npz"].source == "found in its place"
    assert (folder / "params_model_1_ptm.npz").read_bytes() == tiny.files["params_model_1_ptm.npz"]


def test_a_connection_that_breaks(tiny, misbehave):
    with misbehave.Web(tiny.archive, misbehave.cut(1000), misbehave.stall(3000), misbehave.serve) as web:
        tiny.fetch(web)
    assert web.ranges == [None, "bytes=1000-", "bytes=3000-"]
    assert tiny.here() == tiny.installed


def test_a_connection_that_never_holds(tiny, misbehave):
    with misbehave.Web(tiny.archive, misbehave.cut(1000)) as web:
        with pytest.raises(DownloadError, match="run the command again to go on"):
            tiny.fetch(web)
        assert tiny.here() == ["params.tar.part", "params.tar.part.json"]
        web.steps = [misbehave.serve]
        tiny.fetch(web)
    assert web.ranges[-1] == "bytes=1000-"


def test_the_archive_is_kept_on_request_and_used_again(tiny, misbehave, folder):
    with misbehave.Web(tiny.archive) as web:
        tiny.fetch(web, keep_archive=True)
        assert tiny.here() == [*tiny.installed[:1], "params.tar", *tiny.installed[1:]]
        (folder / "params_model_1.npz").unlink()
        tiny.fetch(web)
    assert len(web.requests) == 1
    assert tiny.here() == tiny.installed


def test_a_kept_archive_that_is_damaged(tiny, misbehave, folder):
    folder.mkdir(parents=True)
    (folder / "params.tar").write_bytes(b"x" * len(tiny.archive))
    with misbehave.Web(tiny.archive) as web:
        tiny.fetch(web)
    assert len(web.requests) == 1


def test_another_archive_than_the_published_one(tiny, misbehave, folder):
    other = tiny.archive_of(*(tiny.files | {"params_model_1.npz": b"ONE" * 50}).items())
    with misbehave.Web(other) as web:
        with pytest.raises(
            DownloadError, match=f"expected sha256 {tiny.sha256(tiny.archive)}, found {tiny.sha256(other)}"
        ):
            tiny.fetch(web)
        assert tiny.here() == []
        tiny.fetch(web, sha256=tiny.sha256(other))
    assert (folder / "params_model_1.npz").read_bytes() == b"ONE" * 50


def test_a_file_that_does_not_load(tiny, misbehave):
    other = tiny.archive_of(*(tiny.files | {"params_model_1.npz": b"bad"}).items())
    with (
        misbehave.Web(other) as web,
        pytest.raises(WeightsError, match=r"params\.tar: params_model_1\.npz: these are no"),
    ):
        tiny.fetch(web, sha256=tiny.sha256(other))
    assert tiny.here() == ["LICENSE", "weights.json"]


def test_an_archive_of_fewer_files(tiny, misbehave):
    other = tiny.archive_of(*tiny.members[:2])
    message = r"params\.tar: not in this archive: params_model_1_ptm\.npz; name the archive of all parameters"
    with misbehave.Web(other) as web, pytest.raises(WeightsError, match=message):
        tiny.fetch(web, sha256=tiny.sha256(other))
    assert tiny.here() == []


def test_free_disk_for_archive_and_files(tiny, misbehave, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, len(tiny.archive) + 100))
    with misbehave.Web(tiny.archive) as web, pytest.raises(DownloadError, match=r"330 bytes of it for what is made of"):
        tiny.fetch(web)


def test_two_at_once(tiny, folder):
    with (
        alone(folder, "weights", WeightsError),
        pytest.raises(WeightsError, match="another foldline weights is working in this folder; wait for it"),
    ):
        fetch(tiny.published, Fetch(), tiny.check)


def take(tiny, *files, **how):
    import_files(files, Import(**how), tiny.check)


def test_files_by_name(tiny, folder, own):
    one, two = own("params_model_1.npz", 1), own("model_1_ptm.npz", 2)
    take(tiny, one, two)
    assert (folder / "params_model_1.npz").read_bytes() == one.read_bytes()
    entry = read_record(tiny.published)["params_model_1_ptm.npz"]
    assert (entry.source, entry.sha256) == (str(two), tiny.sha256(two.read_bytes()))
    assert tiny.here() == tiny.installed[1:]


def test_a_name_of_ones_own(tiny, own):
    take(tiny, own("tuned.npz", 1), name="model_1_ptm")
    assert tiny.here() == ["params_model_1_ptm.npz", "weights.json"]
    with pytest.raises(WeightsError, match="--as model_1 goes with one file, found 2"):
        take(tiny, own("a.npz", 1), own("b.npz", 2), name="model_1")


def test_a_link(tiny, folder, own, tmp_path):
    path = own("params_model_1.npz", 1)
    path.chmod(0o400)
    (tmp_path / "params_model_1_ptm.npz").symlink_to(own("elsewhere.npz", 2))
    take(tiny, path, tmp_path / "params_model_1_ptm.npz", link=True)
    assert (folder / "params_model_1.npz").samefile(path)
    assert path.stat().st_mode & 0o777 == 0o400
    assert not (folder / "params_model_1_ptm.npz").is_symlink()
    take(tiny, own("other.npz", 3), name="model_1", link=True, replace=True)
    assert (folder / "params_model_1.npz").samefile(tmp_path / "other.npz")
    assert tiny.here() == tiny.installed[1:]


def test_no_link(tiny, own, monkeypatch):
    def link(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(WeightsError, match=r"no hard link can be made there .invalid cross-device.*leave --link away"):
        take(tiny, own("params_model_1.npz", 1), link=True)
    assert tiny.here() == []


def test_another_file_is_replaced_on_request_only(tiny, folder, own):
    take(tiny, own("params_model_1.npz", 1))
    take(tiny, own("params_model_1.npz", 1))  # the same again
    other = own("params_model_1.npz", 2)
    with pytest.raises(WeightsError, match=r"another params_model_1\.npz is here already; --replace puts"):
        take(tiny, other)
    take(tiny, other, replace=True)
    assert (folder / "params_model_1.npz").read_bytes() == other.read_bytes()


def test_from_its_own_place(tiny, folder, own):
    take(tiny, own("params_model_1.npz", 1))
    records.record_path(tiny.published).unlink()
    take(tiny, folder / "params_model_1.npz")
    assert list(read_record(tiny.published)) == ["params_model_1.npz"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "tuned.npz",
            r"'tuned' is no model whose parameters can be imported; say which one it is: --as NAME, of model_1",
        ),
        ("params_model_1_multimer_v3.npz", "this is a model of complexes"),
    ],
)
def test_names_that_say_nothing(tiny, own, name, message):
    with pytest.raises(WeightsError, match=message):
        take(tiny, own(name, 1))


def test_a_folder(tiny, own, tmp_path):
    with pytest.raises(
        WeightsError, match=r"no parameter files in this folder; expected for example params_model_1\.npz"
    ):
        take(tiny, tmp_path)
    own("params_model_1.npz", 1), own("params_model_1_ptm.npz", 2), own("params_model_1_multimer_v3.npz", 3)
    take(tiny, tmp_path)
    assert tiny.here() == tiny.installed[1:]


def test_no_such_file(tiny, tmp_path):
    with pytest.raises(WeightsError, match=r"none\.npz: there is no such file"):
        take(tiny, tmp_path / "none.npz")


def test_an_archive(tiny, tmp_path):
    (tmp_path / "params.tar").write_bytes(tiny.archive_of(("params_model_1.npz", b"one")))
    take(tiny, tmp_path / "params.tar")
    assert tiny.here() == ["params_model_1.npz", "weights.json"]
    assert read_record(tiny.published)["params_model_1.npz"].source == str(tmp_path / "params.tar")


def test_an_archive_replaces_on_request_only(tiny, folder, tmp_path, own):
    take(tiny, own("params_model_1.npz", 1))
    (tmp_path / "params.tar").write_bytes(tiny.archive)
    take(tiny, tmp_path / "params.tar")
    assert tiny.here() == tiny.installed
    assert (folder / "params_model_1.npz").read_bytes() != tiny.files["params_model_1.npz"]
    take(tiny, tmp_path / "params.tar", replace=True)
    assert (folder / "params_model_1.npz").read_bytes() == tiny.files["params_model_1.npz"]


def test_other_archives(tiny, tmp_path):
    (tmp_path / "x.tar").write_bytes(tiny.archive_of((tiny.unused, b"x")))
    with pytest.raises(WeightsError, match="there are no parameters of alphafold2 in this archive"):
        take(tiny, tmp_path / "x.tar")
    with pytest.raises(WeightsError, match=r"--as model_1 goes with one .npz file; this is none"):
        take(tiny, tmp_path / "x.tar", name="model_1")


def test_a_full_disk(tiny, own, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 10))
    with pytest.raises(WeightsError, match="of free disk, there are 10 bytes; make room, or set FOLDLINE_WEIGHTS"):
        take(tiny, own("params_model_1.npz", 1))
