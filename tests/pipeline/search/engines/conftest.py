"""A planted family: 24 relatives of a query of 61 residues among 401 shuffled sequences, with headers of all kinds."""

import shutil

import numpy as np
import pytest

AMINO_ACIDS = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
HEADERS = ["../../etc/passwd", "a|b 'x' \"y\"", "<script>alert(1)</script>", "same", "same", "long " + "x" * 10_000]
NEEDS = {"mmseqs": "mmseqs", "prefilter": "mmseqs", "jackhmmer-program": "jackhmmer"}
"""Programs of engines."""


def random_sequence(rng, length):
    return "".join(rng.choice(AMINO_ACIDS, length))


def relative(rng, sequence, changed):
    letters = np.array(list(sequence))
    places = rng.random(len(letters)) < changed
    letters[places] = rng.choice(AMINO_ACIDS, places.sum())
    return "".join(letters)


def skip_without(name):
    if name in NEEDS and shutil.which(NEEDS[name]) is None:
        pytest.skip(f"the program {NEEDS[name]} is not installed")


@pytest.fixture(scope="session")
def planted_query():
    return random_sequence(np.random.default_rng(61), 61)


@pytest.fixture(scope="session")
def planted(planted_query):
    """Headers and sequences."""
    rng = np.random.default_rng(7)
    members = [
        random_sequence(rng, 11) + relative(rng, planted_query, 0.1 + 0.02 * i) + random_sequence(rng, 7)
        for i in range(24)
    ]
    decoys = [random_sequence(rng, int(rng.integers(20, 200))) for _ in range(401)]
    names = [*HEADERS, *(f"member_{i} of the family OX=9606" for i in range(6, 24)), *(f"d{i}" for i in range(401))]
    order = np.random.default_rng(11).permutation(len(names))
    return [(names[i], (members + decoys)[i]) for i in order]


@pytest.fixture(scope="session")
def planted_fasta(planted, tmp_path_factory):
    path = tmp_path_factory.mktemp("planted") / "planted.fasta"
    path.write_text("".join(f">{header}\n{sequence}\n" for header, sequence in planted))
    return path


@pytest.fixture(scope="session")
def indices(tmp_path_factory):
    """The folder in which engines keep what they make of databases."""
    return tmp_path_factory.mktemp("indices")
