"""Dump ProMod3's StructureDB to plain NumPy files: run by the system's Python, which has ProMod3 and no Foldline.

    /usr/bin/python3 pipeline/library/structuredb.py FOLDER [--processes 2] [--profiles]

ProMod3 is a Debian package (python3-promod3, promod3-data) that no package index carries, so this file imports nothing
of ours and nothing beyond NumPy. It takes about three minutes.

The folder holds, all chains one after the other (chain i is rows `offsets[i]` to `offsets[i + 1]`):

    ids.npy        (chains,) text: PDB code, "_", chain name
    offsets.npy    (chains + 1,) int64
    start.npy      (chains,) int32: author residue number of the first residue
    sequence.npy   (residues,) uint8: ASCII letters
    dssp.npy       (residues,) uint8: ASCII DSSP states
    backbone.npy   (residues, 5, 3) float32: N, CA, C, O, CB in angstrom
    profile.npy    (residues, 20) float16: HHblits frequencies in the order ACDEFGHIKLMNPQRSTVWY (with --profiles)
"""

import argparse
import itertools
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

PROFILE_LETTERS = "ACDEFGHIKLMNPQRSTVWY"


def chain_ids(database: Any) -> list[str]:
    """Return the id of every chain: PDB code, underscore, chain name."""
    infos = map(database.GetCoordInfo, range(database.GetNumCoords()))
    return [f"{info.id}_{info.chain_name}" for info in infos]


def letters(texts: Sequence[str]) -> np.ndarray:
    """Join texts into one array of ASCII codes, shape (residues,)."""
    return np.frombuffer("".join(texts).encode("ascii"), np.uint8)


def backbone(database: Any, index: int) -> np.ndarray:
    """Return N, CA, C, O, CB of one chain, shape (residues, 5, 3), angstrom."""
    chain = database.GetBackboneList(index)
    atoms = (chain.GetN, chain.GetCA, chain.GetC, chain.GetO, chain.GetCB)
    points = [atom(residue).data for residue in range(len(chain)) for atom in atoms]
    return np.array(points, np.float32).reshape(-1, len(atoms), 3)


def profile(database: Any, index: int) -> np.ndarray:
    """Return the HHblits frequencies of one chain, shape (residues, 20)."""
    columns = database.GetSequenceProfile(index).columns
    frequencies = [columns[k].GetFreq(letter) for k in range(len(columns)) for letter in PROFILE_LETTERS]
    return np.array(frequencies, np.float16).reshape(-1, len(PROFILE_LETTERS))


def _load() -> Any:
    from promod3 import loop  # only the system's Python has it  # noqa: PLC0415

    return loop.LoadStructureDB()


def _fill(task: tuple[Path, int, int]) -> None:
    folder, first, last = task
    database = _load()
    offsets = np.load(folder / "offsets.npy")
    targets = {"backbone": backbone}
    if (folder / "profile.npy").exists():
        targets["profile"] = profile
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in targets}
    for index in range(first, last):
        for name, read in targets.items():
            arrays[name][offsets[index] : offsets[index + 1]] = read(database, index)
    for array in arrays.values():
        array.flush()


def dump(folder: Path, processes: int, profiles: bool) -> None:
    """Write the whole database into `folder`."""
    database = _load()
    count = database.GetNumCoords()
    sequences = [database.GetSequence(index) for index in range(count)]
    offsets = np.concatenate([[0], np.cumsum([len(sequence) for sequence in sequences])])
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "ids.npy", np.array(chain_ids(database)))
    np.save(folder / "offsets.npy", offsets)
    np.save(folder / "start.npy", np.array([database.GetCoordInfo(i).start_resnum for i in range(count)], np.int32))
    np.save(folder / "sequence.npy", letters(sequences))
    np.save(folder / "dssp.npy", letters([database.GetDSSPStates(index) for index in range(count)]))
    del database
    _empty(folder / "backbone.npy", (offsets[-1], 5, 3), np.float32)
    if profiles:
        _empty(folder / "profile.npy", (offsets[-1], len(PROFILE_LETTERS)), np.float16)
    bounds = np.searchsorted(offsets, np.linspace(0, offsets[-1], processes + 1))
    tasks = [(folder, int(first), int(last)) for first, last in itertools.pairwise(bounds)]
    with multiprocessing.Pool(processes) as pool:
        pool.map(_fill, tasks, chunksize=1)


def _empty(path: Path, shape: tuple[int, ...], kind: type) -> None:
    np.lib.format.open_memmap(path, "w+", kind, tuple(map(int, shape))).flush()  # NumPy 2 cannot write its own int64


def main() -> int:
    """Read the command line and dump."""
    parser = argparse.ArgumentParser(description="Dump ProMod3's StructureDB to NumPy files.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--profiles", action="store_true", help="also the HHblits profiles (for training)")
    arguments = parser.parse_args()
    dump(arguments.folder, arguments.processes, arguments.profiles)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
