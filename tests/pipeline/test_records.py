import dataclasses
import json
import os
import zipfile

import numpy as np
import pytest

from pipeline.errors import RecordError
from pipeline.records import atomic, read_json, read_npz, write_json, write_npz, write_text

SCHEMA = "foldline.test/1"


@dataclasses.dataclass(frozen=True)
class Record:
    name: str
    sizes: tuple[int, ...]


def test_json_round_trip(tmp_path):
    path = tmp_path / "deep/er/x.json"
    write_json(path, Record("a ü <b>", (3, 5)), SCHEMA)
    assert read_json(path, SCHEMA) == {"schema": SCHEMA, "name": "a ü <b>", "sizes": [3, 5]}


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(tmp_path / "x.json", {"x": float("nan")}, SCHEMA)
    assert not list(tmp_path.iterdir())


def test_npz_round_trip(tmp_path):
    arrays = {"a": np.arange(7, dtype=np.int16), "b": np.zeros((0, 5), np.float32), "c": np.array(["x", "yz"])}
    write_npz(tmp_path / "x.npz", arrays, SCHEMA)
    found = read_npz(tmp_path / "x.npz", SCHEMA)
    assert set(found) == {"a", "b", "c"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


@pytest.mark.parametrize("reader", [read_json, read_npz])
def test_a_missing_file(tmp_path, reader):
    with pytest.raises(RecordError, match=r"x: expected a foldline\.test/1 file: it does not exist"):
        reader(tmp_path / "x", SCHEMA)


@pytest.mark.parametrize("reader", [read_json, read_npz])
def test_a_folder_is_no_record(tmp_path, reader):
    with pytest.raises(RecordError, match="is a directory"):
        reader(tmp_path, SCHEMA)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[1, 2]", b'"text"'])
def test_json_that_is_none(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(RecordError, match=r"x\.json: expected"):
        read_json(tmp_path / "x.json", SCHEMA)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.6, 0.97])
def test_a_truncated_npz(tmp_path, keep):
    path = tmp_path / "x.npz"
    write_npz(path, {"a": np.arange(1009)}, SCHEMA)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(RecordError, match=r"x\.npz: expected a foldline\.test/1 file: it is damaged"):
        read_npz(path, SCHEMA)


def test_every_flipped_byte_is_seen_or_harmless(tmp_path):
    path = tmp_path / "x.npz"
    expected = np.arange(101)
    write_npz(path, {"a": expected}, SCHEMA)
    data = path.read_bytes()
    for place in range(0, len(data), 13):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        try:
            found = read_npz(path, SCHEMA)
        except RecordError:
            continue
        for array in found.values():
            np.testing.assert_array_equal(array, expected)


def test_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "x.npz", schema=np.array(SCHEMA), a=np.array([{}], dtype=object))
    with pytest.raises(RecordError, match="it is damaged"):
        read_npz(tmp_path / "x.npz", SCHEMA)


def test_another_schema(tmp_path):
    write_npz(tmp_path / "x.npz", {}, "foldline.test/2")
    write_json(tmp_path / "x.json", {}, "foldline.test/2")
    for reader, name in ((read_npz, "x.npz"), (read_json, "x.json")):
        with pytest.raises(
            RecordError, match=r"expected schema 'foldline\.test/1', found 'foldline\.test/2'; make it again"
        ):
            reader(tmp_path / name, SCHEMA)


def test_a_zip_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(RecordError, match="expected"):
        read_npz(tmp_path / "x.npz", SCHEMA)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    write_text(path, "old")
    with pytest.raises(TypeError, match="data must be str"), atomic(path) as temporary:
        temporary.write_text(b"half")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_files_obey_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        write_text(tmp_path / "x.txt", "x")
    finally:
        os.umask(old)
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o640


def test_json_is_ascii_safe_and_ends_with_a_newline(tmp_path):
    write_json(tmp_path / "x.json", {"a": "ü\u2028"}, SCHEMA)
    text = (tmp_path / "x.json").read_text()
    assert text.endswith("}\n")
    assert json.loads(text)["a"] == "ü\u2028"


@pytest.mark.parametrize("content", [b"broken\n", b"\x80\x04]", b"<html>"])
def test_what_is_no_npz(tmp_path, content):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(RecordError, match=r"x\.npz: expected a foldline\.test/1 file: it is damaged, or no npz file$"):
        read_npz(tmp_path / "x.npz", SCHEMA)


def test_a_place_that_takes_no_file_is_named_as_it_was_asked_for(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as caught:
        write_text(tmp_path / "file/record.json", "x")
    assert caught.value.filename == str(tmp_path / "file/record.json")
