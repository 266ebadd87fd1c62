"""Clusters: which chain stands for the others, and what is said where MMseqs2 is missing or fails."""

import shutil

import numpy as np
import pytest

from pipeline.errors import ConfigError, LibraryError
from pipeline.library import clusters
from pipeline.library.clusters import Member, check_clustering, representatives

needs_mmseqs = pytest.mark.skipif(not shutil.which("mmseqs"), reason="mmseqs is not installed")
LETTERS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


def changed(sequence, share, seed):
    rng = np.random.default_rng(seed)
    return "".join(rng.choice(LETTERS) if rng.random() < share else letter for letter in sequence)


@needs_mmseqs
def test_one_chain_of_each_cluster_is_kept():
    first, second = (changed("A" * 120, 1.0, seed) for seed in (1, 2))
    members = [
        Member("1AAA_A", first, 120, 2.5),
        Member("1AAA_B", first, 60, 1.0),
        Member("2BBB_A", changed(first, 0.05, 3), 118, 1.5),
        Member("3CCC_A", changed(first, 0.05, 4), 119, None),
        Member("4DDD_A", second, 120, None),
        Member("5EEE_A", first[:50], 50, 1.1),
    ]
    assert representatives(members, 0.8, 1) == {"2BBB_A", "4DDD_A", "5EEE_A"}


def test_what_mmseqs_cannot_do_is_said(tmp_path, monkeypatch):
    program = tmp_path / "mmseqs"
    program.write_text("#!/bin/sh\necho 'No space left on device' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(LibraryError, match="mmseqs could not cluster the chains: No space left on device"):
        representatives([Member("1AAA_A", "ACDEFGHIKL", 10, None)], 0.5, 1)


def test_what_cannot_be_done_is_refused_before_anything_is_read(monkeypatch):
    with pytest.raises(ConfigError, match="--cluster must be above 0 and at most 1, found 90"):
        check_clustering(90.0)
    monkeypatch.setattr(clusters.shutil, "which", lambda name: None)
    with pytest.raises(
        LibraryError, match="clustering needs the program mmseqs; install MMseqs2, or leave out --cluster"
    ):
        check_clustering(0.9)
