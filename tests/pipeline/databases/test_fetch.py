"""Fetching databases from a server that cuts, lies, fails and has nothing."""

import collections
import dataclasses
import gzip
import hashlib
import io
import json
import shutil
import tarfile

import pytest
import yaml
import zstandard

from pipeline.config import check_config, load_config, merged
from pipeline.databases import catalogue, command
from pipeline.databases import fetch as module
from pipeline.databases.catalogue import read_catalogue
from pipeline.databases.fetch import fetch, installed
from pipeline.databases.formats import Format, count
from pipeline.download.fetch import Patience
from pipeline.errors import ConfigError, DownloadError, LibraryError
from pipeline.lock import alone

QUICK = Patience(attempts=3, stall=0.2, pause=0.01, longest_pause=0.05)
FASTA = b"".join(b">UniRef90_%d protein\n%s\n" % (i, b"MKTAYIAKQR" * (i % 17 + 1)) for i in range(997))
PACKED = gzip.compress(FASTA, 1)
MD5 = hashlib.md5(PACKED, usedforsecurity=False).hexdigest()
METALINK = """<?xml version="1.0"?><metalink version="3.0" xmlns="http://www.metalinker.org/">
<identity>uniref90</identity><version>2026_03</version><files>
<file name="uniref90.xml.gz"><size>5</size><verification><hash type="md5">00</hash></verification></file>
<file name="uniref90.fasta.gz"><size>{size}</size><verification><hash type="md5">{md5}</hash></verification></file>
</files></metalink>"""
Usage = collections.namedtuple("Usage", "total used free")


def metalink(md5=MD5):
    return METALINK.format(size=len(PACKED), md5=md5).encode()


class Shop:
    """A server with a database and a metalink, and the offer of it.

    Args:
        misbehave: The server and its steps.
        folder: Where databases go.
    """

    def __init__(self, misbehave, folder):
        self.misbehave, self.folder = misbehave, folder
        self.metalink, self.asked = metalink(), []

    def open(self, content, *steps):
        """Serve a content; the steps are about it and not about the metalink."""
        self.steps = list(steps) or [self.misbehave.serve]

        def step(handler):
            about = handler.path.endswith(".metalink")
            handler.server.web.content = self.metalink if about else content
            if about:
                self.misbehave.serve(handler)
                return
            self.asked.append(handler.headers.get("Range"))
            (self.steps.pop(0) if len(self.steps) > 1 else self.steps[0])(handler)

        return self.misbehave.Web(content, step)

    def offer(self, web, **changes):
        known = {"url": web.url("uniref90.fasta.gz"), "checksum": web.url("RELEASE.metalink")}
        known |= {"bytes": 100_000, "unpacked": 200_000}
        return dataclasses.replace(read_catalogue()["uniref90"], **(known | changes))

    def fetch(self, web, **changes):
        (found,) = fetch([self.offer(web, **changes)], self.folder, QUICK)
        return found

    def here(self):
        place = self.folder / "uniref90"
        return sorted(str(p.relative_to(place)) for p in place.rglob("*") if p.is_file() and p.name != ".lock")


@pytest.fixture
def shop(misbehave, tmp_path):
    return Shop(misbehave, tmp_path / "db")


def test_everything(shop):
    with shop.open(PACKED) as web:
        found = shop.fetch(web)
    assert (found.path, found.version) == (shop.folder / "uniref90/uniref90.fasta", "2026_03")
    assert found.path.read_bytes() == FASTA
    assert shop.here() == ["foldline.json", "uniref90.fasta"]
    record = json.loads((shop.folder / "uniref90/foldline.json").read_text())
    digest = hashlib.sha256(FASTA).hexdigest()
    assert record["files"] == {"uniref90.fasta": {"bytes": len(FASTA), "sha256": digest}}
    assert record["archive"]["sha256"] == hashlib.sha256(PACKED).hexdigest()
    assert (record["archive"]["md5"], record["archive"]["checked"]) == (MD5, f"md5 of {web.url('RELEASE.metalink')}")
    assert record["licence"] == "CC BY 4.0"


def test_twice_fetches_once(shop):
    with shop.open(PACKED) as web:
        assert shop.fetch(web) == shop.fetch(web)
        assert len(web.requests) == 2


@pytest.mark.parametrize("damage", ["shorter", "gone", "record"])
def test_what_is_damaged_is_fetched_again(shop, damage):
    with shop.open(PACKED) as web:
        path = shop.fetch(web).path
        if damage == "record":
            (path.parent / "foldline.json").write_text('{"schema": "foldline.fetched/1", "files": []}')
        else:
            path.unlink() if damage == "gone" else path.write_bytes(FASTA[:-1])
        assert installed(shop.offer(web), shop.folder) is None
        shop.fetch(web)
    assert path.read_bytes() == FASTA
    assert shop.asked == [None, None]


def test_connections_that_break(shop):
    with shop.open(PACKED, shop.misbehave.cut(1000), shop.misbehave.stall(2000), shop.misbehave.serve) as web:
        assert shop.fetch(web).path.read_bytes() == FASTA
    assert shop.asked == [None, "bytes=1000-", "bytes=2000-"]


def test_a_later_command_goes_on(shop):
    with shop.open(PACKED, shop.misbehave.cut(1000), shop.misbehave.status(503)) as web:
        with pytest.raises(DownloadError, match="run the command again to go on"):
            shop.fetch(web)
        assert shop.here() == ["incoming/uniref90.gz.part", "incoming/uniref90.gz.part.json"]
        assert installed(shop.offer(web), shop.folder) is None
        shop.steps = [shop.misbehave.serve]
        assert shop.fetch(web).path.read_bytes() == FASTA
    assert shop.asked[-1] == "bytes=1000-"


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (lambda m: m.status(404), "the server answers 404"),
        (lambda m: m.status(403), "the server answers 403"),
        (lambda m: m.status(500), r"the server answers 500 .*\(3 attempts\)"),
        (lambda m: m.promise(7), f"expected a file of {len(PACKED)} bytes, the server offers {len(PACKED) + 7}"),
        (lambda m: m.promise(-7), f"expected a file of {len(PACKED)} bytes, the server offers {len(PACKED) - 7}"),
        (lambda m: m.status(200), f"expected a file of {len(PACKED)} bytes, the server offers 0"),
        (lambda m: m.redirect("file:///etc/passwd"), "expected an address that starts with http"),
    ],
)
def test_servers_that_fail_or_lie(shop, steps, message):
    with shop.open(PACKED, steps(shop.misbehave)) as web, pytest.raises(DownloadError, match=message):
        shop.fetch(web)
    assert installed(shop.offer(web), shop.folder) is None
    assert not (shop.folder / "uniref90/uniref90.fasta").exists()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda m: m.status(200), "the server sent an empty file"),
        (lambda m: m.promise(7), "the connection ended after"),
        (lambda m: m.promise(-7), "damaged or cut short"),
        (lambda m: m.without_length, "the server does not say how long the file is"),
    ],
)
def test_lies_about_a_file_of_which_nothing_is_published(shop, step, message):
    with shop.open(PACKED, step(shop.misbehave)) as web, pytest.raises((DownloadError, LibraryError), match=message):
        shop.fetch(web, checksum="", version="1")
    assert installed(shop.offer(web), shop.folder) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b""), "there is nothing in this file"),
        (gzip.compress(b"<html>we have moved</html>"), "found a web page or XML"),
        (b"<html>we have moved</html>", "found a web page or XML"),
        (PACKED[:-5], "the file is damaged or cut short"),
        (PACKED[:3000] + b"x" + PACKED[3001:], "the file is damaged or cut short"),
    ],
)
def test_a_file_that_is_not_the_database(shop, content, message):
    with shop.open(content) as web:
        with pytest.raises(LibraryError, match=message):
            shop.fetch(web, checksum="", version="1")
        assert installed(shop.offer(web), shop.folder) is None
        with pytest.raises(LibraryError, match=message):
            shop.fetch(web, checksum="", version="1")
    assert shop.asked == [None, None]  # it is not met again


def test_another_file_than_the_published_one(shop):
    shop.metalink = metalink(md5="0" * 32)
    with shop.open(PACKED) as web:
        with pytest.raises(DownloadError, match=f"expected md5 {'0' * 32}, found {MD5}"):
            shop.fetch(web)
        assert shop.here() == []
        shop.fetch(web, checksum=f"md5:{MD5.upper()}", version="2026_03")
        shop.fetch(web, checksum=f"sha256:{'0' * 64}")  # it is here: nothing is asked
    with shop.open(PACKED) as web, pytest.raises(DownloadError, match=r"expected md5:HEX, .*found md5:xyz"):
        fetch([shop.offer(web, name="other", checksum="md5:xyz")], shop.folder, QUICK)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"<html>", "RELEASE.metalink: expected a metalink"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><x/>', "expected a metalink, found something else"),
        (b"<metalink/>", r"nothing is said of uniref90\.fasta\.gz; --checksum none fetches without it"),
        (metalink().replace(b'"md5"', b'"crc"'), r"no checksum of uniref90\.fasta\.gz is said"),
        (metalink(md5="xyz"), "found md5:xyz"),
        (metalink().replace(b"2026_03", b"../../x"), r"expected a release, found '\.\./\.\./x'; name it by --release"),
        (metalink().replace(b"<version>2026_03</version>", b""), "expected a release, found ''"),
    ],
)
def test_metalinks_that_say_nothing(shop, text, message):
    shop.metalink = text
    with shop.open(PACKED) as web, pytest.raises(DownloadError, match=message):
        shop.fetch(web)
    assert shop.asked == []


def archive(*members):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in members:
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return file.getvalue()


MMSEQS = {"u_db": b"MKV\n\0", "u_db.index": b"0\t0\t5\n", "u_db.dbtype": bytes(4)}


def test_an_archive_of_several_files(shop):
    with shop.open(archive(*MMSEQS.items())) as web:
        known = {"url": web.url("u.tar.gz"), "file": "u_db", "checksum": "", "version": "7", "engine": "mmseqs"}
        found = shop.fetch(web, **known)
        assert shop.here() == ["foldline.json", "u_db", "u_db.dbtype", "u_db.index"]
        assert found.path == shop.folder / "uniref90/u_db"
        with pytest.raises(LibraryError, match="the database 'z' does not exist"):
            fetch([shop.offer(web, **{**known, "name": "z", "file": "other_db"})], shop.folder, QUICK)
    hostile = archive(*MMSEQS.items(), ("../x", b"x"))
    with shop.open(hostile) as web, pytest.raises(LibraryError, match=r"'\.\./x' leads out of the folder"):
        fetch([shop.offer(web, **{**known, "name": "y", "url": web.url("u.tar.gz")})], shop.folder, QUICK)
    assert not (shop.folder / "x").exists()


def test_zstd_and_records_that_are_kept(shop):
    content = zstandard.compress(b">a mol:protein\nMKV\n>b mol:na\nACGT\n")
    with shop.open(content) as web:
        known = {"url": web.url("x.zst"), "checksum": "", "version": "date", "only": "mol:protein"}
        found = shop.fetch(web, **known)
    assert count(found, Format("FASTA")).sequences == 1
    assert len(found.version) == len("2026-11-22")


def test_free_disk_for_all_before_anything_is_asked(shop, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 499_999))
    with shop.open(PACKED) as web:
        two = [shop.offer(web), shop.offer(web, name="other")]
        message = "expected about 500.0 kB of free disk for uniref90, other; there are 500.0 kB; make room, name fewer"
        message += " databases, or another folder by --folder$"
        with pytest.raises(DownloadError, match=message):
            fetch(two, shop.folder, QUICK)
        assert web.requests == []
        assert not shop.folder.exists()
        fetch(two[:1], shop.folder, QUICK)
        fetch(two, shop.folder, QUICK)  # the first needs no room any more


def test_unpacking_that_was_interrupted_goes_on_with_what_came(shop, monkeypatch):
    def full(*_):
        raise DownloadError("the disk is full")

    with shop.open(PACKED) as web:
        with monkeypatch.context() as patch:
            patch.setattr(module, "unpack_file", full)
            with pytest.raises(DownloadError, match="the disk is full"):
                shop.fetch(web)
        assert shop.here() == ["incoming/archive.json", "incoming/uniref90.gz"]
        assert shop.fetch(web).path.read_bytes() == FASTA
        assert shop.asked == [None]


def test_what_an_earlier_command_left_needs_no_room_again(shop, monkeypatch):
    """The archive is here, and what was unpacked of it is removed before anything else."""
    incoming = shop.folder / "uniref90/incoming"

    def full(_archive, target, *_):
        target.write_bytes(bytes(70_000))
        raise DownloadError("the disk is full")

    with shop.open(PACKED) as web:
        with monkeypatch.context() as patch:
            patch.setattr(module, "unpack_file", full)
            with pytest.raises(DownloadError, match="the disk is full"):
                shop.fetch(web)
        assert (incoming / "unpacked/uniref90.fasta").stat().st_size == 70_000
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 129_999))
        with pytest.raises(DownloadError, match=r"expected about 130\.0 kB of free disk for uniref90; there are 130"):
            shop.fetch(web)
        two = [shop.offer(web), shop.offer(web, name="other")]
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 429_999))
        with pytest.raises(DownloadError, match=r"expected about 430\.0 kB of free disk for uniref90, other"):
            fetch(two, shop.folder, QUICK)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, 130_000))
        seen, look = [], module.statement
        monkeypatch.setattr(
            module, "statement", lambda *words: seen.append((incoming / "unpacked").exists()) or look(*words)
        )
        assert shop.fetch(web).path.read_bytes() == FASTA
    assert seen == [False]
    assert shop.asked == [None]


def test_two_at_once(shop):
    message = "another foldline databases is working in this folder; wait for it"
    with (
        shop.open(PACKED) as web,
        alone(shop.folder / "uniref90", "databases", DownloadError),
        pytest.raises(DownloadError, match=message),
    ):
        shop.fetch(web)


@pytest.fixture
def table(shop, tmp_path, monkeypatch):
    """Put a table with one database of this server in the place of the real one."""

    def write(web):
        rows = [line.split("\t") for line in catalogue.TABLE.read_text(encoding="utf-8").splitlines()]
        row = dict(zip(rows[0], next(row for row in rows if row[0] == "uniref90"), strict=True))
        row |= {"url": web.url("uniref90.fasta.gz"), "checksum": web.url("RELEASE.metalink")}
        row |= {"bytes": "100000", "unpacked": "200000"}
        (tmp_path / "t.tsv").write_text("\t".join(rows[0]) + "\n" + "\t".join(row.values()) + "\n")
        monkeypatch.setattr(command, "read_catalogue", lambda: read_catalogue(tmp_path / "t.tsv"))

    return write


def test_the_command_prints_the_lines_of_the_config(shop, table, capsys, tmp_path):
    with shop.open(PACKED) as web:
        table(web)
        assert command.main(["fetch", "full", "--folder", str(shop.folder)]) == 0
    text = capsys.readouterr().out
    lines = yaml.safe_load(text)
    path = str(shop.folder / "uniref90/uniref90.fasta")
    assert lines == {"search": {"databases": ["library", {"name": "uniref90", "path": path, "version": "2026_03"}]}}
    check_config(merged(load_config(), lines))
    (tmp_path / "my.yaml").write_text(f"databases: {{cache: {tmp_path}/cache/search}}\n{text}")
    assert command.main(["check", "--config", str(tmp_path / "my.yaml")]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[:2] == ["uniref90", "2026_03"]


def test_the_list(shop, table, capsys):
    with shop.open(PACKED) as web:
        table(web)
        for state in ("absent", "2026_03"):
            assert command.main(["list", "--folder", str(shop.folder)]) == 0
            row = capsys.readouterr().out.splitlines()[1].split()
            assert row == ["uniref90", "full", "100.0", "kB", "200.0", "kB", "CC", "BY", "4.0", state]
            command.main(["fetch", "uniref90", "--folder", str(shop.folder)])
            capsys.readouterr()


def test_a_mirror_and_another_checksum(shop, table, capsys):
    with shop.open(PACKED) as web:
        table(web)
        words = [
            "fetch",
            "uniref90",
            "--folder",
            str(shop.folder),
            "--url",
            web.url("mirror?x=1"),
            "--checksum",
            "none",
        ]
        with pytest.raises(DownloadError, match="expected a release, found ''; name it by --release"):
            command.main(words)
        command.main([*words, "--release", "7"])
    assert "version: '7'" in capsys.readouterr().out


def test_the_embedded_tier_has_nothing_to_fetch(capsys, caplog, tmp_path):
    caplog.set_level("INFO", "pipeline")
    assert command.main(["fetch", "embedded", "--folder", str(tmp_path / "x")]) == 0
    assert "the embedded library is part of the repository: there is nothing to fetch" in caplog.text
    assert yaml.safe_load(capsys.readouterr().out) == {"search": {"databases": ["library"]}}
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("option", ["--url", "--checksum", "--release"])
def test_options_of_one_database(option, tmp_path):
    with pytest.raises(ConfigError, match=f"{option} goes with one database, found 2"):
        command.main(["fetch", "small", option, "https://example.invalid/1", "--folder", str(tmp_path)])


def test_lines_for_other_programs(tmp_path):
    offers = read_catalogue()
    found = [module.Installed(offers[name], tmp_path / name, "1") for name in ("pdb70", "bfd", "uniref30")]
    text = command.config_lines(found)
    assert text.startswith(f"# bfd is for the programs of HH-suite: {tmp_path}/bfd\n")
    section = yaml.safe_load(text)["search"]
    assert section["hhsearch"] == f"pdb70={tmp_path}/pdb70:1"
    assert section["databases"][1]["engine"] == "mmseqs"
