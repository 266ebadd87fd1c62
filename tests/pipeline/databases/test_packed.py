import gzip

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.databases import packed
from pipeline.databases.packed import opened, packing
from pipeline.errors import LibraryError

CONTENT = b">a\n" + bytes(range(65, 91)) * 3001
PACK = {"gzip": gzip.compress, "zstd": zstandard.compress}


def content(path):
    with opened(path) as file:
        return file.read()


@pytest.mark.parametrize("how", PACK)
def test_several_members_are_read_as_one(tmp_path, how):
    path = tmp_path / "x"
    path.write_bytes(PACK[how](CONTENT) + PACK[how](b"") + PACK[how](b"the end"))
    assert packing(path) == how
    assert content(path) == CONTENT + b"the end"


def test_what_is_not_packed_is_read_as_it_is(tmp_path):
    (tmp_path / "x").write_bytes(CONTENT)
    assert packing(tmp_path / "x") == ""
    assert content(tmp_path / "x") == CONTENT


def test_a_streamed_frame_without_a_size(tmp_path):
    packer = zstandard.ZstdCompressor().compressobj()
    (tmp_path / "x").write_bytes(packer.compress(CONTENT) + packer.flush())
    assert content(tmp_path / "x") == CONTENT


@pytest.mark.parametrize("how", PACK)
@settings(deadline=None)  # the machine may be busy
@given(share=st.floats(0.001, 0.999))
def test_a_cut_file_is_never_taken_for_a_whole_one(tmp_path_factory, how, share):
    path, data = tmp_path_factory.mktemp("cut") / "x", PACK[how](CONTENT)
    path.write_bytes(data[: max(5, int(share * len(data)))])
    with pytest.raises(LibraryError, match=r"x: the file is damaged or cut short \(.*\); put the whole file there"):
        content(path)


@pytest.mark.parametrize("how", PACK)
def test_damage_is_an_error(tmp_path, how):
    data = bytearray(PACK[how](CONTENT))
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(LibraryError, match="damaged or cut short"):
        content(tmp_path / "x")


def test_no_file(tmp_path):
    with pytest.raises(LibraryError, match=r"x: cannot read the file \(no such file or directory\)"):
        packing(tmp_path / "x")
    with pytest.raises(LibraryError, match=r"cannot read the file \(is a directory\)"):
        content(tmp_path)


def test_what_is_held_at_once_is_bounded():
    assert packed._BLOCK <= 1 << 14  # a frame of one letter grows 30,000-fold
