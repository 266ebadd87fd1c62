"""Making a library from a mirror: what comes out, resuming, updating, and what may be wrong with a mirror."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigError, LibraryError
from pipeline.library import build as building
from pipeline.library import clusters, command, reading
from pipeline.library.atoms import LARGEST_ERROR
from pipeline.library.build import PROBLEMS, Options, build
from pipeline.library.manifest import MANIFEST
from pipeline.library.mirror import scan
from pipeline.library.mmcif import UnreadError, read_entry
from pipeline.library.shards import read_shards
from pipeline.library.store import EMBEDDED, TemplateLibrary
from pipeline.lock import alone


@pytest.fixture
def mirror(mmcif, tmp_path):
    """Return a small mirror in the divided layout, and in it what a mirror should not have."""
    folder = tmp_path / "mirror"
    mmcif.bpti("1AAA").write(folder / "aa" / "1aaa.cif")
    mmcif.bpti("2BBB", method="'SOLUTION NMR'", resolution=None, dates=()).write(folder / "bb" / "2bbb.cif")
    packed = gzip.compress(mmcif.trp_cage("3CCC", author="x").text().encode())
    (folder / "cc").mkdir()
    (folder / "cc" / "3ccc.cif.gz").write_bytes(packed)
    return folder


@pytest.fixture
def make(mirror, tmp_path):
    """Return a function that builds from the mirror and opens the library."""

    def run(**options):
        build(Options(mirror, tmp_path / "library", **options))
        return TemplateLibrary.open(tmp_path / "library")

    return run


@pytest.fixture
def files_read(monkeypatch):
    """Return the paths that a build reads, as it goes."""
    found = []
    original = reading.read_batches

    def watched(places, batches, processes):
        found.extend(path for batch in batches for path, _ in batch)
        return original(places, batches, processes)

    monkeypatch.setattr(building, "read_batches", watched)
    return found


def problems(library):
    lines = (library.path / PROBLEMS).read_text().splitlines()
    assert lines[0] == "file\treason"
    return dict(line.split("\t") for line in lines[1:])


def chains(library):
    """Return everything that a library says of each chain."""
    found = {}
    for index, name in enumerate(library.ids):
        atoms = library.atoms(index)
        numbers = (library.author_numbers(index), library.residue_numbers(index).tolist())
        found[name] = (library.sequence(index), library.facts(index), numbers, atoms.positions.tobytes())
    return found


def test_a_library_holds_what_the_files_hold(make, mirror):
    library = make(processes=2)
    assert list(library.ids) == ["1AAA_A", "2BBB_A", "3CCC_x"]
    assert len(library) == 3
    for name, path in {"1AAA_A": "aa/1aaa.cif", "3CCC_x": "cc/3ccc.cif.gz"}.items():
        entry, index = read_entry(mirror / path), library.index(name)
        (chain,) = entry.chains
        assert library.sequence(index) == chain.sequence
        assert library.facts(index) == entry.facts
        assert library.author_numbers(index) == tuple(map(str, chain.atoms.numbers))
        assert library.residue_numbers(index).tolist() == list(range(1, len(chain.sequence) + 1))
        atoms = library.atoms(index)
        assert (atoms.mask == chain.atoms.atoms.mask).all()
        assert np.linalg.norm(atoms.positions - chain.atoms.atoms.positions, axis=-1).max() < LARGEST_ERROR
        assert np.array_equal(library.backbone(index)[:, 1], atoms.positions[:, 1])
    assert library.facts(1) == (None, None, "SOLUTION NMR")
    assert library.fasta.read_text().splitlines()[::2] == [">1AAA_A", ">2BBB_A", ">3CCC_x"]
    assert library.sequences[1:] == (library.sequence(1), library.sequence(2))
    assert library.version.startswith("2001-02-03-")
    library.verify()


def test_missing_atoms_of_the_backbone_are_nan(make, mmcif, mirror):
    file = mmcif.trp_cage("4DDD")
    file.polymers[0].residues[5].atoms = []
    file.write(mirror / "4ddd.cif")
    library = make()
    found = np.isnan(library.backbone(library.index("4DDD_A"))).all(-1)
    assert found[5].all()
    glycine = np.array(list(library.sequence(library.index("4DDD_A")))) == "G"
    glycine[5] = True
    assert (found[:, 4] == glycine).all()
    assert not found[~glycine].any()


def test_one_bad_file_does_not_stop_the_others(make, mmcif, mirror):
    (mirror / "garbage.cif").write_bytes(b"\x00\xfe")
    (mirror / "cut.cif.gz").write_bytes((mirror / "cc" / "3ccc.cif.gz").read_bytes()[:-99])
    name = "new\nline\x1b[31m <b> $(rm -rf x).cif"
    (mirror / name).write_text("data_")
    (mirror / os.fsdecode(b"\xff.cif")).write_text("")
    shutil.copy(mirror / "aa" / "1aaa.cif", mirror / "zz_copy.cif")
    mmcif.trp_cage("5SHORT").write(mirror / "short.cif")
    library = make(min_residues=21)
    assert list(library.ids) == ["1AAA_A", "2BBB_A"]
    found = problems(library)
    assert found.pop("garbage.cif").startswith("expected mmCIF")
    assert found.pop("cut.cif.gz") == "cannot read it (the packed file is cut off)"
    assert found.pop("new\\nline\\x1b[31m <b> $(rm -rf x).cif").startswith("no coordinates")
    assert found.pop("\\udcff.cif") == "it is empty"
    assert found.pop("zz_copy.cif") == "the entry 1AAA is in aa/1aaa.cif already"
    assert not found


def test_only_what_is_new_or_changed_is_read_again(make, mmcif, mirror, files_read):
    (mirror / "bad.cif").write_text("bad")
    first = make()
    manifest = (first.path / MANIFEST).stat().st_mtime_ns
    assert len(files_read) == 4
    files_read.clear()
    before = chains(first)
    second = make()
    assert files_read == []
    assert (second.path / MANIFEST).stat().st_mtime_ns == manifest
    assert problems(second).keys() == {"bad.cif"}
    mmcif.bpti("1AAA", moved=7.0).write(mirror / "aa" / "1aaa.cif")
    os.utime(mirror / "aa" / "1aaa.cif", ns=(1, 1))
    mmcif.trp_cage("4DDD").write(mirror / "4ddd.cif")
    mmcif.trp_cage("6GOOD").write(mirror / "bad.cif")
    (mirror / "bb" / "2bbb.cif").unlink()
    third = make()
    assert sorted(files_read) == ["4ddd.cif", "aa/1aaa.cif", "bad.cif"]
    assert list(third.ids) == ["1AAA_A", "3CCC_x", "4DDD_A", "6GOOD_A"]
    assert third.version != first.version
    after = chains(third)
    assert after["3CCC_x"] == before["3CCC_x"]
    assert after["1AAA_A"][3] != before["1AAA_A"][3]
    assert not problems(third)
    third.verify()
    shutil.rmtree(third.path)
    assert chains(make()) == after
    assert make().version == third.version


def test_an_update_leaves_nothing_behind(make, mmcif, mirror):
    make()
    for entry in ("4DDD", "5EEE"):
        mmcif.trp_cage(entry).write(mirror / f"{entry}.cif")
        library = make()
    named = set(json.loads((library.path / MANIFEST).read_text())["files"])
    shards = {name.replace(".atoms", ".json.gz") for name in named if name.startswith("shards/")}
    found = {str(path.relative_to(library.path)) for path in library.path.rglob("*") if path.is_file()}
    assert found == named | shards | {MANIFEST, PROBLEMS, ".lock"}
    assert len(shards) == 1


def test_a_damaged_shard_is_read_again(make, files_read):
    first = make()
    before = chains(first)
    files_read.clear()
    for record in (first.path / "shards").glob("*.json.gz"):
        record.write_bytes(record.read_bytes()[:-5])
    (first.path / "shards" / ".half.tmp").write_text("left by a build that was killed")
    assert chains(make()) == before
    assert len(files_read) == 3
    assert not (first.path / "shards" / ".half.tmp").exists()


def test_a_build_that_was_killed_goes_on(mmcif, tmp_path, files_read):
    mirror, library = tmp_path / "mirror", tmp_path / "library"
    text = mmcif.trp_cage("1XXX").text()
    for k in range(160):
        (mirror / f"{k % 7}").mkdir(parents=True, exist_ok=True)
        (mirror / f"{k % 7}" / f"{k}.cif").write_text(text.replace("1XXX", f"1X{k:02d}"))
    words = ["library", "build", "--mmcif", str(mirror), "--output", str(library), "--cores", "1"]
    process = subprocess.Popen([sys.executable, "-m", "pipeline.cli", *words], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not list(library.glob("shards/*.json.gz")) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(library.glob("shards/*.json.gz"))
    assert not (library / MANIFEST).exists()
    manifest = build(Options(mirror, library, 1))
    assert 0 < len(files_read) < 160
    assert manifest["chains"] == 160
    whole = build(Options(mirror, tmp_path / "whole", 1))
    assert whole["version"] == manifest["version"]
    assert chains(TemplateLibrary.open(library)) == chains(TemplateLibrary.open(tmp_path / "whole"))


def test_readers_end_with_a_parent_that_is_killed(mmcif, tmp_path):
    mirror = tmp_path / "mirror"
    mmcif.bpti("1XXX").write(mirror / "1xxx.cif")
    script = (
        "import os, sys, time; from pathlib import Path; from pipeline.library import reading\n"
        "pool = reading._pool(1)\n"
        "print(pool.submit(os.getpid).result(), flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        reader = int(process.stdout.readline())
        process.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{reader}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{reader}").exists()


def test_a_file_that_kills_its_reader_is_named(mirror, tmp_path):
    (mirror / "killer.cif").write_text("killer")
    library = make_with_killer(mirror, tmp_path / "library")
    assert list(library.ids) == ["1AAA_A", "2BBB_A", "3CCC_x"]
    assert problems(library) == {"killer.cif": reading.KILLED}
    build(Options(mirror, tmp_path / "library"))  # where there is memory now, or here nothing that kills
    assert problems(library)["killer.cif"].startswith("expected mmCIF")


def make_with_killer(mirror, library):
    """Build in a process of its own, whose readers die of one file."""
    script = (
        "import os, signal, sys; from pathlib import Path; from pipeline.library import build, reading\n"
        "original = reading.read_entry\n"
        "def deadly(path):\n"
        "    if path.name == 'killer.cif': os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return original(path)\n"
        "reading.read_entry = deadly\n"
        "reading.multiprocessing.get_context = lambda _, get=reading.multiprocessing.get_context: Fork(get('fork'))\n"
        "class Fork:\n"
        "    def __init__(self, context): self.context = context\n"
        "    def __getattr__(self, name): return getattr(self.context, name)\n"
        "    def set_forkserver_preload(self, names): pass\n"
        "build.build(build.Options(Path(sys.argv[1]), Path(sys.argv[2]), 2))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(mirror), str(library)], check=True, timeout=120)
    return TemplateLibrary.open(library)


class Here:
    """Readers in this process, which tests can change; one of them dies when it is told to."""

    deaths = ()

    def __init__(self, processes):
        self.submitted = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, *arguments):
        self.submitted += 1
        if self.submitted in Here.deaths:
            Here.deaths = ()
            raise BrokenProcessPool
        future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture
def readers(monkeypatch):
    monkeypatch.setattr(reading, "_pool", Here)
    monkeypatch.setattr(Here, "deaths", ())
    return Here


@pytest.mark.parametrize("death", [1, 2, 3])
def test_files_that_were_to_be_read_next_when_a_reader_died_are_read(mirror, tmp_path, readers, death):
    readers.deaths = (death,)
    batches = [(item,) for item in scan(mirror).items()]
    places = reading.Places(mirror, tmp_path / "library")
    assert sum(count for _, count in reading.read_batches(places, batches, 1)) == 3
    found = {file.path for shard in read_shards(places.library) for file in shard.files}
    assert found == {"aa/1aaa.cif", "bb/2bbb.cif", "cc/3ccc.cif.gz"}


def test_what_is_lost_between_reading_and_publishing_is_said(make, monkeypatch, readers):
    monkeypatch.setattr(building, "read_shard", lambda *_: None)
    with pytest.raises(
        LibraryError, match=r"library: 3 files were read and are in no shard, such as 'aa/1aaa.cif'; ch"
    ):
        make()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnreadError("cannot read it (input/output error)"), "cannot read it (input/output error)"),
        (MemoryError(), reading.NO_MEMORY),
    ],
)
def test_what_could_not_be_read_is_read_again_until_it_can(make, readers, monkeypatch, error, reason, files_read):
    original = reading.read_entry

    def failing(path):
        if path.name == "1aaa.cif":
            raise error
        return original(path)

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(reading, "read_entry", failing)
            library = make()
        assert list(library.ids) == ["2BBB_A", "3CCC_x"]
        assert problems(library) == {"aa/1aaa.cif": reason}
    assert files_read == ["aa/1aaa.cif", "bb/2bbb.cif", "cc/3ccc.cif.gz", "aa/1aaa.cif"]
    files_read.clear()
    library = make()
    assert list(library.ids) == ["1AAA_A", "2BBB_A", "3CCC_x"]
    assert problems(library) == {}
    make()
    assert files_read == ["aa/1aaa.cif"]


def test_two_builds_at_once_are_refused(make, tmp_path):
    with (
        alone(tmp_path / "library", "library build", LibraryError),
        pytest.raises(LibraryError, match="another foldline library build is working in this folder; wait for it"),
    ):
        make()
    assert len(make()) == 3


def test_obsolete_entries_lead_to_their_last_successor(make, mmcif, mirror, tmp_path):
    mmcif.trp_cage("0OLD").write(mirror / "0old.cif")
    mmcif.trp_cage("0LIE").write(mirror / "0lie.cif")
    mmcif.trp_cage("0FAR").write(mirror / "0far.cif")
    lines = ["OBSLTE    31-JUL-94 0OLD     0MID", "OBSLTE    31-JUL-95 0MID     1AAA", "OBSLTE    31-JUL-96 0LIE"]
    (tmp_path / "obsolete.dat").write_text("\n".join([*lines, "OBSLTE    31-JUL-97 0FAR     9NOT"]))
    library = make(obsolete=tmp_path / "obsolete.dat")
    assert list(library.ids) == ["0FAR_A", "1AAA_A", "2BBB_A", "3CCC_x"]
    assert library.index("0OLD_A") == library.index("0MID_A") == library.index("1AAA_A") == 1
    assert library.successor("0MID") == "1AAA"
    assert library.successor("1AAA") == "1AAA"
    with pytest.raises(LibraryError, match="no chain '0LIE_A' in the library own 2001-02-03-"):
        library.index("0LIE_A")
    assert problems(library) == {
        "0old.cif": "obsolete, replaced by 1AAA",
        "0lie.cif": "obsolete, without successor",
    }


def test_clusters_keep_one_chain_each(make, monkeypatch):
    asked = []

    def representatives(members, identity, threads):
        asked.append(([(m.id, m.observed, m.resolution) for m in members], identity))
        return {"2BBB_A", "3CCC_x"}

    monkeypatch.setattr(clusters, "check_clustering", lambda identity: None)
    monkeypatch.setattr(clusters, "representatives", representatives)
    library = make(identity=0.9)
    assert list(library.ids) == ["2BBB_A", "3CCC_x"]
    assert asked == [([("1AAA_A", 58, 1.95), ("2BBB_A", 58, None), ("3CCC_x", 20, 1.95)], 0.9)]
    assert json.loads((library.path / MANIFEST).read_text())["cluster_identity"] == 0.9
    assert len(make()) == 3  # the others were there all the time


def test_held_out_chains_are_marked(make, caplog):
    library = make(held_out=frozenset({"2BBB_A", "9XYZ_Q"}))
    assert "1 chains to hold out are not in the mirror, such as '9XYZ_Q'" in caplog.text
    assert [library.held_out(index) for index in range(3)] == [False, True, False]
    assert make().version != library.version


def test_what_cannot_be_built_is_refused_and_nothing_is_lost(make, mirror, tmp_path):
    before = chains(make())
    with pytest.raises(ConfigError, match="--cores must be at least 1, found 0"):
        make(processes=0)
    with pytest.raises(ConfigError, match=r"--name cannot be '\.\./x'; use letters"):
        make(name="../x")
    with pytest.raises(LibraryError, match=r"no protein chain in 3 files; see .*problems.tsv"):
        make(min_residues=1000)
    with pytest.raises(LibraryError, match="data/library: this folder holds a library of another kind; give another"):
        build(Options(mirror, EMBEDDED))
    with pytest.raises(LibraryError, match="no mmCIF files"):
        build(Options(tmp_path / "library" / "shards", tmp_path / "library"))
    assert chains(TemplateLibrary.open(tmp_path / "library")) == before


def test_the_command(mirror, tmp_path, caplog):
    caplog.set_level("INFO")
    words = ["build", "--mmcif", str(mirror), "--output", str(tmp_path / "library"), "--cores", "1"]
    assert command.main([*words, "--name", "mine", "--release", "2024"]) == 0
    assert "mine 2024-" in caplog.text
    assert command.main(["verify", "--library", str(tmp_path / "library")]) == 0
    with pytest.raises(ConfigError, match="a library of your own needs a folder; give --output"):
        command.main(words[:3])


def damage(path, start=40):
    body = bytearray(path.read_bytes())
    body[start : start + 30] = bytes(30)
    path.write_bytes(body)


def test_damage_is_named(make):
    library = make()
    (atoms,) = library.path.glob("shards/*.atoms")
    damage(atoms)
    with pytest.raises(LibraryError, match=r"\.atoms \(1AAA_A\): the atoms are damaged .*run foldline library build"):
        library.atoms(0)
    with pytest.raises(LibraryError, match=r"\.atoms: expected sha256 .*, found"):
        library.verify()
    atoms.unlink()
    with pytest.raises(LibraryError, match=r"cannot read the shard \(no such file.*if the library was updated"):
        library.atoms(0)
    with pytest.raises(LibraryError, match=r"\.atoms: a file of the library is missing"):
        TemplateLibrary.open(library.path)


def test_a_damaged_index_is_named(make):
    library = make()
    (index,) = library.path.glob("chains-*.npz")
    damage(index)
    with pytest.raises(LibraryError, match=r"chains-.*\.npz: expected a foldline.chains/1 file: it is damaged"):
        TemplateLibrary.open(library.path)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"chains": 99}, "expected 99 chains, found 3"),
        ({"index": "../secret"}, "the manifest names no file for 'index'"),
        ({"sequences": None}, "the manifest names no file for 'sequences'"),
        ({"files": []}, "the manifest is damaged"),
    ],
)
def test_a_damaged_manifest_is_named(make, changes, problem):
    path = make().path
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(manifest | changes))
    with pytest.raises(LibraryError, match=problem):
        TemplateLibrary.open(path)
