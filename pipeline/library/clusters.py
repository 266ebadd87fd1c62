"""Cluster sequences by MMseqs2, and choose a representative of each cluster."""

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import ConfigError, LibraryError

COVERAGE = 0.8  # of both sequences, so that a domain is not represented by a chain that merely contains it
_NEARLY = 0.9  # of the most observed residues of a cluster


class Member(NamedTuple):
    """What chooses the representative of a cluster.

    Args:
        id: The chain.
        sequence: Its letters.
        observed: Residues with atoms.
        resolution: Angstrom; None where there is none.
    """

    id: str
    sequence: str
    observed: int
    resolution: float | None


def check_clustering(identity: float) -> None:
    """Refuse what cannot be done before anything is read.

    Raises:
        ConfigError: The identity is out of range.
        LibraryError: MMseqs2 is not installed.
    """
    if not 0 < identity <= 1:
        raise ConfigError(f"--cluster must be above 0 and at most 1, found {identity}")
    if not shutil.which("mmseqs"):
        raise LibraryError("clustering needs the program mmseqs", mend="install MMseqs2, or leave out --cluster")


def representatives(members: Sequence[Member], identity: float, threads: int) -> set[str]:
    """Return the ids of one chain for each cluster.

    Raises:
        LibraryError: MMseqs2 failed.
    """
    # Equal sequences need no program, and are most of what there is.
    unique = {sequence: place for place, sequence in enumerate(dict.fromkeys(member.sequence for member in members))}
    leaders = _cluster(unique, identity, threads)
    clusters: dict[int, list[Member]] = {}
    for member in members:
        clusters.setdefault(leaders[unique[member.sequence]], []).append(member)
    return {_best(cluster).id for cluster in clusters.values()}


def _best(cluster: Sequence[Member]) -> Member:
    """Return the chain of the best resolution among those with nearly the most residues."""
    enough = _NEARLY * max(member.observed for member in cluster)
    complete = [member for member in cluster if member.observed >= enough]
    return min(complete, key=lambda m: (m.resolution is None, m.resolution or 0.0, -m.observed, m.id))


def _cluster(sequences: Mapping[str, int], identity: float, threads: int) -> dict[int, int]:
    """Return the first sequence of the cluster of each, by their numbers."""
    with tempfile.TemporaryDirectory(prefix="foldline-cluster-") as temporary:
        folder = Path(temporary)
        with (folder / "in.fasta").open("w") as file:
            file.writelines(f">{number}\n{sequence}\n" for sequence, number in sequences.items())
        words = ["mmseqs", "easy-cluster", folder / "in.fasta", folder / "out", folder / "tmp"]
        flags = ["--min-seq-id", identity, "-c", COVERAGE, "--cov-mode", 0, "--threads", threads, "-v", 1]
        try:
            subprocess.run(list(map(str, words + flags)), check=True, capture_output=True, text=True, errors="replace")
            rows = (folder / "out_cluster.tsv").read_text().split()
        except (OSError, subprocess.CalledProcessError) as error:
            output = [getattr(error, "stdout", ""), getattr(error, "stderr", "")]
            last = ("\n".join(filter(None, output)).strip().splitlines() or [str(error)])[-1]
            raise LibraryError(f"mmseqs could not cluster the chains: {last}") from error
    leaders = {int(member): int(leader) for leader, member in zip(rows[::2], rows[1::2], strict=True)}
    return {number: leaders.get(number, number) for number in sequences.values()}
