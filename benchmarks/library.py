"""Speed and size of a template library that is built from a mirror of mmCIF files.

    .venv/bin/python benchmarks/library.py --entries 2000

The mirror is made beforehand, of the structures of the tests (1L2Y, 20 residues; 1BPI, 58 residues) or of those that
are given: entries of one to six chains, every coordinate with normal noise of 0.3 A, so that no two chains are alike,
gzip-compressed in the divided layout. Residues a second and bytes a residue carry over to other entries; entries a
second depend on how large they are. `--mirror` measures a mirror of your own instead.

    .venv/bin/python benchmarks/library.py --index 200000

measures what grows with the number of entries alone, an update that finds nothing new: files without content and shards
that say what was read of them (three or four chains of 250 residues each; the atoms are those of a small protein).
"""

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import gemmi
import numpy as np
from machine import described, peak_memory, print_table

from pipeline.library.atoms import pack
from pipeline.library.manifest import MANIFEST
from pipeline.library.mmcif import read_entry
from pipeline.library.shards import ENTRIES, ChainRecord, FileRecord, write_shard
from pipeline.library.store import TemplateLibrary

HEAD = ("step", "files read", "wall s", "CPU s", "files a CPU s", "largest memory of a process MB")
ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "pipeline" / "golden"
STRUCTURES = (GOLDEN / "1l2y_A.pdb", GOLDEN / "1bpi_A.pdb")
MOST_CHAINS, NOISE, SEED = 6, 0.3, 1
MEASURED = """
import ctypes, os, resource, subprocess, sys, time
# Readers outlive the command by a moment: they become children of this process (PR_SET_CHILD_SUBREAPER of Linux).
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
began = time.perf_counter()
subprocess.run([sys.executable, "-m", "pipeline.cli", *sys.argv[1:]], check=True, capture_output=True)
wall = time.perf_counter() - began
try:
    while True:
        os.wait()
except ChildProcessError:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(wall, used.ru_utime + used.ru_stime, used.ru_maxrss)
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Build, build again, update, and read chains; print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, nargs="+", default=STRUCTURES, help="PDB or mmCIF files")
    parser.add_argument("--entries", type=int, default=1000, help="of the mirror (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="(default: %(default)s)")
    parser.add_argument("--mirror", type=Path, help="measure this mirror")
    parser.add_argument("--index", type=int, help="entries of the mirror without content")
    arguments = parser.parse_args(argv)
    print(described(), end="\n\n")
    with tempfile.TemporaryDirectory() as temporary:
        (of_index if arguments.index else of_mirror)(arguments, Path(temporary))
    return 0


def of_mirror(arguments: argparse.Namespace, folder: Path) -> None:
    """Measure a mirror with content."""
    mirror, library = arguments.mirror or folder / "mirror", folder / "library"
    if not arguments.mirror:
        make_mirror(mirror, arguments.structures, arguments.entries)
    files = sorted(path for path in mirror.rglob("*.cif*") if path.is_file())
    rows = [build("first build", len(files), mirror, library, arguments.processes)]
    rows.append(build("nothing new", 0, mirror, library, arguments.processes))
    if not arguments.mirror:
        changed = files[:: max(1, len(files) // 20)]
        for path in changed:
            os.utime(path)
        rows.append(build("some changed", len(changed), mirror, library, arguments.processes))
    print_table(HEAD, rows)
    print()
    print_table(*sizes(library, files))


def of_index(arguments: argparse.Namespace, folder: Path) -> None:
    """Measure a mirror without content."""
    rng, letters = np.random.default_rng(SEED), np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    (chain,) = read_entry(first_file(folder / "one", arguments.structures)).chains[:1]
    packed = pack(chain.atoms, chain.aatype)
    records: list[FileRecord] = []
    for number in range(arguments.index):
        name = name_of(number)
        path = folder / "mirror" / name[-3:-1] / f"{name}.cif"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        sequence = "".join(rng.choice(letters, 250))
        chains = (ChainRecord(label, sequence, 250, 0, 0, name) for label in "ABCD"[: 3 + number % 2])
        stamp = (f"{name[-3:-1]}/{name}.cif", 0, path.stat().st_mtime_ns)
        records.append(FileRecord(*stamp, entry=name.upper(), date="2001-02-03", chains=tuple(chains)))
        if len(records) == ENTRIES or number == arguments.index - 1:
            write_shard(folder / "library", ((record, [packed] * len(record.chains)) for record in records))
            records = []
    rows = [build(step, 0, folder / "mirror", folder / "library", arguments.processes) for step in ("index", "again")]
    print_table(HEAD, rows)
    began = time.process_time()
    library = TemplateLibrary.open(folder / "library")
    opened = time.process_time() - began
    print(f"\n{len(library)} chains; open {opened:.2f} CPU s, {peak_memory():.0f} MB")


def first_file(mirror: Path, structures: Sequence[Path]) -> Path:
    """Write a mirror of one file and return it."""
    make_mirror(mirror, structures, 1)
    return next(mirror.rglob("*.cif.gz"))


def name_of(number: int) -> str:
    """Return the name of an entry."""
    return f"{1 + number // 46656}{np.base_repr(number % 46656, 36):0>3}".lower()


def make_mirror(mirror: Path, structures: Sequence[Path], entries: int) -> None:
    """Write gzip-compressed mmCIF files in the divided layout."""
    rng = np.random.default_rng(SEED)
    originals = [gemmi.read_structure(str(path)) for path in structures]
    for number in range(entries):
        name = name_of(number)
        path = mirror / name[1:3] / f"{name}.cif.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(entry(name.upper(), originals, rng).encode()))


def entry(name: str, originals: Sequence[gemmi.Structure], rng: np.random.Generator) -> str:
    """Return an mmCIF file of some chains with noise."""
    structure = gemmi.Structure()
    structure.name, model = name, gemmi.Model(1)
    for label in "ABCDEF"[: rng.integers(1, MOST_CHAINS + 1)]:
        chain = originals[rng.integers(len(originals))][0][0].clone()
        chain.name = label
        for residue in chain:
            residue.subchain = residue.entity_id = ""
            for atom in residue:
                atom.pos += gemmi.Position(*rng.normal(scale=NOISE, size=3))
        model.add_chain(chain)
    structure.add_model(model)
    structure.setup_entities()
    for found in structure.entities:
        found.full_sequence = [residue.name for residue in structure[0].get_subchain(found.subchains[0])]
    structure.assign_label_seq_id(True)
    document = structure.make_mmcif_document()
    document.sole_block().set_pair("_exptl.method", "'X-RAY DIFFRACTION'")
    document.sole_block().set_pair("_refine.ls_d_res_high", "2.00")
    return document.as_string()


def build(step: str, read: int, mirror: Path, library: Path, processes: int) -> list[object]:
    """Run the command; return a row of the table."""
    words = [
        "library",
        "build",
        "--mmcif",
        str(mirror.resolve()),
        "--output",
        str(library),
        "--cores",
        str(processes),
    ]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *words], check=True, capture_output=True, text=True, cwd=ROOT
    )
    wall, cpu, memory = map(float, done.stdout.split())
    rate = f"{read / cpu:.0f}" if read else ""
    return [step, read, f"{wall:.1f}", f"{cpu:.1f}", rate, f"{memory / 1024:.0f}"]


def sizes(path: Path, files: Sequence[Path]) -> tuple[tuple[str, ...], list[list[object]]]:
    """Return a table of sizes and of the time that reading takes."""
    began = time.process_time()
    library = TemplateLibrary.open(path)
    opened = time.process_time() - began
    picked = range(0, len(library), max(1, len(library) // 200))
    began = time.process_time()
    for index in picked:
        library.atoms(index)
    each = (time.process_time() - began) / len(picked)
    residues = sum(map(len, library.sequences))
    atoms, rest = (sum(path.stat().st_size for path in found) for found in parts(path))
    mirror = sum(file.stat().st_size for file in files)
    head = (
        "files",
        "mean size kB",
        "chains",
        "residues",
        "bytes a chain",
        "a residue",
        "index and journal bytes a chain",
    )
    row = [len(files), f"{mirror / len(files) / 1e3:.0f}", len(library), residues, f"{atoms / len(library):.0f}"]
    row += [f"{atoms / residues:.1f}", f"{rest / len(library):.0f}", f"{1e3 * opened:.0f}", f"{1e3 * each:.2f}"]
    return (*head, "open ms", "atoms of a chain ms"), [row]


def parts(path: Path) -> Iterator[list[Path]]:
    """Give the files of a library that hold atoms, and the others."""
    yield list(path.glob("shards/*.atoms"))
    yield [*path.glob("shards/*.json.gz"), *path.glob("chains-*"), *path.glob("sequences-*"), path / MANIFEST]


if __name__ == "__main__":
    raise SystemExit(main())
