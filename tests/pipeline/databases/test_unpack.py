"""Archives that are hostile, damaged or cut short."""

import errno
import gzip
import hashlib
import io
import os
import tarfile

import pytest
import zstandard

from pipeline.databases import unpack as module
from pipeline.databases.unpack import Written, unpack_archive, unpack_file
from pipeline.errors import DownloadError, LibraryError

FASTA = b">1abc_A mol:protein length:3\nMKV\n>1abc_B mol:na length:4\nACGT\n>2abc_A mol:protein length:5\nMK\nVLA\n"


def written(data):
    return Written(len(data), hashlib.sha256(data).hexdigest())


def special(name, kind, target="", size=0):
    header = tarfile.TarInfo(name)
    header.type, header.linkname, header.size = kind, target, size
    return header


def tar_of(*members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for member in members:
            header = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member[0])
            content = b"" if isinstance(member, tarfile.TarInfo) else member[1]
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def packed(tmp_path):
    def write(data):
        (tmp_path / "packed").write_bytes(data)
        return tmp_path / "packed"

    return write


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_file(packed, out, pack):
    assert unpack_file(packed(pack(FASTA)), out / "x", 1000) == written(FASTA)
    assert (out / "x").read_bytes() == FASTA


@pytest.mark.parametrize(
    "block", [1 << 20, 24]
)  # longer than a line, and than all that comes before what is looked for
def test_records_that_are_kept(packed, out, monkeypatch, block):
    monkeypatch.setattr(module, "_BLOCK", block)
    kept = FASTA.replace(b">1abc_B mol:na length:4\nACGT\n", b"")
    assert unpack_file(packed(gzip.compress(FASTA)), out / "x", 1000, "mol:protein") == written(kept)
    assert (out / "x").read_bytes() == kept


def test_no_record_that_is_kept(packed, out):
    with pytest.raises(LibraryError, match="there is no record of 'mol:dna' in this file; it is not what it should be"):
        unpack_file(packed(FASTA), out / "x", 1000, "mol:dna")


@pytest.mark.parametrize("data", [gzip.compress(b""), zstandard.compress(b"")])
def test_an_empty_file(packed, out, data):
    with pytest.raises(LibraryError, match="packed: there is nothing in this file; it is not what it should be"):
        unpack_file(packed(data), out / "x", 1000)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_bomb(packed, out, pack):
    with pytest.raises(LibraryError, match="more than 1000000 bytes are packed in this file"):
        unpack_file(packed(pack(bytes(5_000_000))), out / "x", 1_000_000)
    with pytest.raises(LibraryError, match="more than 1000000 bytes are packed in this file"):
        unpack_archive(packed(pack(tar_of(("x", bytes(5_000_000))))), out, 1_000_000)
    with pytest.raises(LibraryError, match="more than 1000000 bytes are packed in this file"):
        unpack_archive(packed(pack(tar_of(("y", b"y")) + bytes(5_000_000))), out, 1_000_000)


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "x: the disk is full; make room and run the command again"), (errno.EIO, r"x: cannot write \(")],
)
def test_a_disk_that_cannot_be_written(packed, out, monkeypatch, number, message):
    class Full(io.BytesIO):
        def write(self, block):
            raise OSError(number, os.strerror(number))

    path = packed(FASTA)
    monkeypatch.setattr(type(out), "open", lambda path, mode, **_: Full() if mode == "wb" else open(path, mode))  # noqa: PTH123, SIM115
    with pytest.raises(DownloadError, match=message):
        unpack_file(path, out / "x", 1000)


def test_a_folder_that_cannot_be_written(packed, out):
    with pytest.raises(DownloadError, match=r"x: cannot write \(no such file or directory\)"):
        unpack_file(packed(FASTA), out / "none" / "x", 1000)
    with pytest.raises(DownloadError, match=r"a/b: cannot write \(file exists\)"):
        unpack_archive(packed(tar_of(("a", b"x"), ("a/b", b"x"))), out, 1000)


MEMBERS = (
    ("./db", b"MKV\n\0"),
    ("./db.index", b"0\t0\t5\n"),
    ("more/a", b"1"),
    special("db_seq", tarfile.SYMTYPE, "db"),
)


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_an_archive(packed, out, pack):
    found = unpack_archive(packed(pack(tar_of(special("./", tarfile.DIRTYPE), *MEMBERS))), out, 10**6)
    assert found == {"db": written(b"MKV\n\0"), "db.index": written(b"0\t0\t5\n"), "more/a": written(b"1")}
    assert (out / "db_seq").read_bytes() == b"MKV\n\0"
    assert (out / "db_seq").is_symlink()
    assert (out / "more/a").read_bytes() == b"1"


HOSTILE = {
    "absolute": (("/etc/x", b"x"), "'/etc/x' leads out of the folder"),
    "parent": (("../x", b"x"), r"'\.\./x' leads out of the folder"),
    "parent within": (("a/../../x", b"x"), r"'a/\.\./\.\./x' leads out of the folder"),
    "line feed": (("a\nb", b"x"), r"'a\\nb' leads out of the folder"),
    "link out": (special("x", tarfile.SYMTYPE, "/etc/passwd"), "'x' is no plain file"),
    "link up": (special("x", tarfile.SYMTYPE, "../x"), "'x' is no plain file"),
    "link to a parent": (
        special("x", tarfile.SYMTYPE, ".."),
        "'x' is a link to what is not there|'x' is no plain file",
    ),
    "link to nothing": (special("x", tarfile.SYMTYPE, "y"), "'x' is a link to what is not there"),
    "link to itself": (special("x", tarfile.SYMTYPE, "x"), "'x' is a link to what is not there"),
    "hard link": (special("x", tarfile.LNKTYPE, "db"), "'x' is no plain file"),
    "device": (special("x", tarfile.CHRTYPE), "'x' is no plain file"),
    "pipe": (special("x", tarfile.FIFOTYPE), "'x' is no plain file"),
    "twice": (("db", b"x"), "'db' is there twice"),
    "twice, as a link": (special("./db", tarfile.SYMTYPE, "db.index"), "'db' is there twice"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_members(packed, out, tmp_path, kind):
    member, message = HOSTILE[kind]
    before = sorted(tmp_path.iterdir())
    with pytest.raises(LibraryError, match=rf"packed: the member ({message}); it is not what it should be"):
        unpack_archive(packed(tar_of(*MEMBERS, member)), out, 10**6)
    assert sorted(tmp_path.iterdir()) == sorted({*before, tmp_path / "packed"})


def test_a_file_below_a_link(packed, out, tmp_path):
    with pytest.raises(LibraryError):
        unpack_archive(packed(tar_of(*MEMBERS, special("d", tarfile.SYMTYPE, "more"), ("d/x", b"x"))), out, 10**6)
    assert not (out / "more/x").exists()


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_archives_that_are_cut_short(packed, out, pack, share):
    data = pack(tar_of(("a", b"1" * 30_000), ("b", b"2" * 30_000)))
    with pytest.raises(LibraryError, match=r"cut short|whole tar"):
        unpack_archive(packed(data[: int(share * len(data))]), out, 10**6)


@pytest.mark.parametrize("data", [b"", b"<html>", bytes(10_240), tar_of(("a", b""))])
def test_what_is_no_archive(packed, out, data):
    with pytest.raises(LibraryError, match=r"expected a whole tar archive|there is nothing in this archive"):
        unpack_archive(packed(data), out, 10**6)
