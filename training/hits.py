"""Search a dumped StructureDB against itself with MMseqs2: the templates and alignments of training.

    python -m training.hits --data FOLDER

reads FOLDER/structuredb and writes FOLDER/hits.npz: all hits of each chain among the others, best first. Columns are
`target`, `identity`, `query_start` and `target_start` (from 0); chain i has the rows `query_offsets[i]` to
`query_offsets[i + 1]`, and row k the runs `cigar_offsets[k]` to `cigar_offsets[k + 1]` of `cigar_kind` (0 aligned,
1 query only, 2 target only) and `cigar_length`.
"""

import argparse
import itertools
import logging
import re
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pipeline.errors import StageError
from pipeline.records import atomic
from training.guard import guarded

log = logging.getLogger(__name__)

_SEARCH = ("--num-iterations", "2", "-s", "6.5", "-e", "1e-3", "-a", "1", "--max-seqs", "5000")
_COLUMNS = "query,target,fident,bits,qstart,tstart,cigar"
_KINDS = {"M": 0, "I": 1, "D": 2}
_RUN = re.compile(r"(\d+)([MID])")


def search_self(structuredb: Path, work: Path, threads: int) -> list[str]:
    """Return the lines of MMseqs2's table of hits; names are the numbers of the chains.

    Raises:
        StageError: The program failed.
        OSError: It is not there, or the disk is full.
    """
    offsets = np.load(structuredb / "offsets.npy", allow_pickle=False)
    letters = np.load(structuredb / "sequence.npy", allow_pickle=False).tobytes().decode("ascii")
    fasta = work / "set.fasta"
    with fasta.open("w", encoding="ascii") as file:
        for i, (start, end) in enumerate(itertools.pairwise(offsets)):
            file.write(f">{i}\n{letters[start:end]}\n")
    database, result, table = work / "db", work / "result", work / "hits.tsv"
    _mmseqs("createdb", fasta, database)
    _mmseqs("search", database, database, result, work / "tmp", *_SEARCH, "--threads", threads)
    _mmseqs("convertalis", database, database, result, table, "--format-output", _COLUMNS, "--threads", threads)
    return table.read_text(encoding="ascii").splitlines()


def _mmseqs(*words: object) -> None:
    command = ["mmseqs", *map(str, words), "-v", "2"]
    if code := subprocess.run(command, check=False).returncode:
        raise StageError(f"mmseqs {words[0]} ended with code {code}", mend="what it said stands above")


def parse_hits(lines: Iterable[str], chains: int) -> dict[str, np.ndarray]:
    """Return the arrays of hits.npz from the table; hits of a chain with itself are left out."""
    rows = [fields for fields in (line.split("\t") for line in lines) if fields[0] != fields[1]]
    rows.sort(key=lambda fields: (int(fields[0]), -float(fields[3])))
    runs = [_RUN.findall(fields[6]) for fields in rows]
    flat = [run for cigar in runs for run in cigar]
    queries = np.array([int(fields[0]) for fields in rows], np.int64)
    return {
        "query_offsets": np.searchsorted(queries, np.arange(chains + 1)),
        "target": np.array([fields[1] for fields in rows]).astype(np.int32),
        "identity": np.array([fields[2] for fields in rows]).astype(np.float32),
        "query_start": np.array([fields[4] for fields in rows]).astype(np.int32) - 1,
        "target_start": np.array([fields[5] for fields in rows]).astype(np.int32) - 1,
        "cigar_offsets": np.concatenate([[0], np.cumsum([len(cigar) for cigar in runs])]).astype(np.int64),
        "cigar_kind": np.array([_KINDS[kind] for _, kind in flat], np.int8),
        "cigar_length": np.array([length for length, _ in flat]).astype(np.int16),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Write hits.npz."""
    parser = argparse.ArgumentParser(prog="python -m training.hits", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds structuredb/")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO)
    structuredb = arguments.data / "structuredb"
    chains = len(np.load(structuredb / "ids.npy", allow_pickle=False))
    with tempfile.TemporaryDirectory(dir=arguments.data) as work:
        arrays = parse_hits(search_self(structuredb, Path(work), arguments.threads), chains)
    with atomic(arguments.data / "hits.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    log.info("%d hits of %d chains", len(arrays["target"]), chains)
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main))
