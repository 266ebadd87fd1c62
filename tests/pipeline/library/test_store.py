"""The template library: opening, reading back, every error, and the embedded one."""

import gzip
import json
import shutil
import stat
import time

import numpy as np
import pytest

from pipeline.errors import LibraryError
from pipeline.library import backbones as library
from pipeline.library import command
from pipeline.library.backbones import BACKBONES, BLOCK, SEQUENCES
from pipeline.library.manifest import MANIFEST
from pipeline.library.source import Chains
from pipeline.library.store import EMBEDDED, TemplateLibrary

SOURCE = {"name": "synthetic", "release": "7", "source": "a random walk", "licence": "CC0-1.0"}
LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


@pytest.fixture(scope="module")
def chains():
    rng = np.random.default_rng(11)
    lengths = [int(n) for n in rng.choice([2, 3, 5, 7, 11, 13, 17, 19, 23], size=BLOCK + 5)]
    walks = [np.cumsum(rng.normal(size=(n * 5, 3)) * 0.9, axis=0).reshape(n, 5, 3) for n in lengths]
    return Chains(
        ids=[f"{1000 + k}_{'AB'[k % 2]}" for k in range(len(lengths))],
        sequences=["".join(rng.choice(LETTERS, size=n)) for n in lengths],
        backbones=walks,
        first=np.arange(len(lengths)) + 3,
        held_out=np.arange(len(lengths)) % 3 == 0,
    )


@pytest.fixture(scope="module")
def made(chains, tmp_path_factory):
    folder = tmp_path_factory.mktemp("library")
    library.write_library(folder, chains, SOURCE)
    return folder


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made, tmp_path / "library")


def edit_manifest(folder, **changes):
    manifest = json.loads((folder / MANIFEST).read_text())
    for name in (SEQUENCES, BACKBONES):
        manifest["files"][name]["bytes"] = (folder / name).stat().st_size
    (folder / MANIFEST).write_text(json.dumps(manifest | changes))


def test_a_library_gives_back_what_went_in(made, chains):
    opened = TemplateLibrary.open(made)
    assert len(opened) == len(chains.ids)
    assert opened.ids == tuple(chains.ids)
    for index, chain_id in enumerate(chains.ids):
        assert opened.index(chain_id) == index
        assert opened.sequence(index) == chains.sequences[index]
        assert opened.held_out(index) is bool(index % 3 == 0)
        assert opened.residue_numbers(index)[0] == index + 3
        expected = chains.backbones[index][:, :4].reshape(-1, 3)
        found = opened.backbone(index)[:, :4].reshape(-1, 3)
        pairs = np.linalg.norm(expected[:, None] - expected[None], axis=-1)
        np.testing.assert_allclose(np.linalg.norm(found[:, None] - found[None], axis=-1), pairs, atol=0.04)


def test_glycine_alone_has_no_beta_carbon(made, chains):
    opened = TemplateLibrary.open(made)
    for index, sequence in enumerate(chains.sequences):
        missing = np.isnan(opened.backbone(index)).all(-1)
        assert not missing[:, :4].any()
        assert missing[:, 4].tolist() == [letter == "G" for letter in sequence]


def test_the_manifest_says_what_is_inside(made, chains):
    manifest = json.loads((made / MANIFEST).read_text())
    assert manifest["residues"] == sum(map(len, chains.sequences))
    assert manifest["held_out"] == sum(chains.held_out)
    assert set(manifest["error_angstrom"]) == {"N", "CA", "C", "O"}
    assert all(error["largest"] < 0.02 for error in manifest["error_angstrom"].values())
    assert manifest["version"].startswith("7-")


def test_the_same_chains_make_the_same_files(made, chains, tmp_path):
    library.write_library(tmp_path, chains, SOURCE)
    for name in (MANIFEST, SEQUENCES, BACKBONES):
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes()


def test_the_version_follows_the_content(made, chains, tmp_path):
    other = Chains(chains.ids, chains.sequences, chains.backbones, chains.first + 1, chains.held_out)
    library.write_library(tmp_path, other, SOURCE)
    assert TemplateLibrary.open(tmp_path).version != TemplateLibrary.open(made).version


@pytest.mark.parametrize("name", [MANIFEST, SEQUENCES, BACKBONES])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(LibraryError, match=rf"{name}: .*(does not exist|is missing); fetch the files again"):
        TemplateLibrary.open(copy)


@pytest.mark.parametrize("name", [SEQUENCES, BACKBONES])
def test_a_truncated_file_is_named(copy, name):
    (copy / name).write_bytes((copy / name).read_bytes()[:-7])
    with pytest.raises(LibraryError, match=rf"{name}: expected \d+ bytes, found \d+; fetch"):
        TemplateLibrary.open(copy)
    edit_manifest(copy)
    with pytest.raises(LibraryError, match=rf"{name}: .*damaged"):
        TemplateLibrary.open(copy)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": "foldline.library/2"}', '{"schema": "foldline.library/1"}']
)
def test_a_damaged_manifest_or_one_of_another_version_is_named(copy, text):
    (copy / MANIFEST).write_text(text)
    with pytest.raises(LibraryError, match=rf"{MANIFEST}: .*; fetch the files again"):
        TemplateLibrary.open(copy)


def test_flipped_bits_are_found(copy):
    body = bytearray((copy / BACKBONES).read_bytes())
    body[len(body) // 3] ^= 1
    (copy / BACKBONES).write_bytes(body)
    with pytest.raises(LibraryError, match=rf"{BACKBONES}: .*damaged"):
        TemplateLibrary.open(copy)


def test_a_missing_array_is_named(copy):
    with np.load(copy / BACKBONES) as archive:
        arrays = dict(archive)
    del arrays["first"]
    np.savez(copy / BACKBONES, **arrays)
    edit_manifest(copy)
    with pytest.raises(LibraryError, match=rf"{BACKBONES}: expected the array 'first'"):
        TemplateLibrary.open(copy)


def test_a_damaged_block_names_the_chain(copy):
    with np.load(copy / BACKBONES) as archive:
        arrays = dict(archive)
    arrays["blocks"][5:50] = 0
    np.savez(copy / BACKBONES, **arrays)
    edit_manifest(copy)
    opened = TemplateLibrary.open(copy)
    with pytest.raises(LibraryError, match=r"backbones.npz \(1003_B\): the backbone is damaged"):
        opened.backbone(3)
    assert np.isfinite(opened.backbone(BLOCK)[:, :4]).all()


def test_files_of_two_libraries_do_not_mix(copy, chains):
    few = slice(0, 5)
    other = copy.parent / "other"
    parts = (chains.ids, chains.sequences, chains.backbones, chains.first, chains.held_out)
    library.write_library(other, Chains(*(part[few] for part in parts)), SOURCE)
    shutil.copy(other / SEQUENCES, copy / SEQUENCES)
    edit_manifest(copy)
    with pytest.raises(LibraryError, match="expected 37 chains, found 5 sequences and 37 backbones"):
        TemplateLibrary.open(copy)


def test_verify_compares_sums(copy):
    TemplateLibrary.open(copy).verify()
    content = gzip.decompress((copy / SEQUENCES).read_bytes()).replace(b"A", b"C", 1)
    (copy / SEQUENCES).write_bytes(gzip.compress(content, compresslevel=9, mtime=0))
    edit_manifest(copy)
    with pytest.raises(LibraryError, match=rf"{SEQUENCES}: expected sha256 .*, found"):
        TemplateLibrary.open(copy).verify()


def test_an_unknown_chain_is_an_error(made):
    with pytest.raises(LibraryError, match="no chain '9XYZ_Q' in the library synthetic 7-"):
        TemplateLibrary.open(made).index("9XYZ_Q")


def write_dump(folder, chains):
    folder.mkdir()
    np.save(folder / "ids.npy", np.array(chains.ids))
    np.save(folder / "offsets.npy", np.cumsum([0, *map(len, chains.sequences)]))
    np.save(folder / "start.npy", chains.first)
    np.save(folder / "sequence.npy", np.frombuffer("".join(chains.sequences).encode(), np.uint8))
    np.save(folder / "backbone.npy", np.concatenate(chains.backbones).astype(np.float32))


def build(tmp_path, *flags, held_out="1000_A\n"):
    (tmp_path / "held_out.txt").write_text("# a comment\n" + held_out)
    words = ["build", "--structuredb", "--release", "7", "--held-out", str(tmp_path / "held_out.txt")]
    return command.main([*words, "--output", str(tmp_path / "out"), *flags])


def test_build_from_a_dump_and_verify(tmp_path, chains):
    write_dump(tmp_path / "dump", chains)
    assert build(tmp_path, "--dump", str(tmp_path / "dump")) == 0
    opened = TemplateLibrary.open(tmp_path / "out")
    assert opened.sequences == tuple(chains.sequences)
    assert [index for index in range(len(opened)) if opened.held_out(index)] == [0]
    assert command.main(["verify", "--library", str(tmp_path / "out")]) == 0


def test_build_names_what_is_wrong(tmp_path, chains):
    with pytest.raises(LibraryError, match="expected a dump of the StructureDB"):
        build(tmp_path, "--dump", str(tmp_path / "nothing"))
    write_dump(tmp_path / "dump", chains)
    with pytest.raises(LibraryError, match="1 chains to hold out are not in the StructureDB, such as '9XYZ_Q'"):
        build(tmp_path, "--dump", str(tmp_path / "dump"), held_out="9XYZ_Q\n")
    with pytest.raises(LibraryError, match="cannot read the chains to hold out"):
        build(tmp_path, "--held-out", str(tmp_path))
    with pytest.raises(LibraryError, match=r"no-python: cannot run the system's Python.*install the Debian packages"):
        build(tmp_path, "--python", str(tmp_path / "no-python"))
    assert not (tmp_path / "out").exists()


def test_a_dump_that_fails_says_why(tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'promod3'\" >&2\nexit 1\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    with pytest.raises(LibraryError, match=r"cannot dump the StructureDB: ModuleNotFoundError.*python3-promod3"):
        build(tmp_path, "--python", str(python))


def test_the_embedded_library_is_whole():
    opened = TemplateLibrary.open()
    opened.verify()
    manifest = json.loads((EMBEDDED / MANIFEST).read_text())
    assert len(opened) == len(set(opened.ids)) == 21_119
    assert sum(map(len, opened.sequences)) == 4_561_225
    assert int(opened.marked.sum()) == 1_089
    assert {opened.ids[k] for k in np.flatnonzero(opened.marked)} == {
        line for line in (EMBEDDED / "held_out.txt").read_text().splitlines() if not line.startswith("#")
    }
    assert all(error["largest"] < 0.02 for error in manifest["error_angstrom"].values())
    assert sum(file["bytes"] for file in manifest["files"].values()) < 47_000_000
    readme = (EMBEDDED / "README.md").read_text()
    assert all(file["sha256"] in readme for file in manifest["files"].values())


def test_the_embedded_library_holds_proteins():
    opened = TemplateLibrary.open()
    for index in range(7, len(opened), 2003):
        atoms = opened.backbone(index)
        assert atoms.shape == (len(opened.sequence(index)), 5, 3)
        ca = atoms[:, 1]
        steps = np.linalg.norm(np.diff(ca, axis=0), axis=-1)
        assert np.median(steps) == pytest.approx(3.8, abs=0.05)
        beta = np.linalg.norm(atoms[:, 4] - ca, axis=-1)
        np.testing.assert_allclose(beta[np.isfinite(beta)], 1.53, atol=0.01)


def test_the_embedded_library_opens_at_once():
    TemplateLibrary.open()
    started = time.process_time()
    TemplateLibrary.open()
    assert time.process_time() - started < 0.3
