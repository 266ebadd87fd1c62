"""A small made-up set of chains to draw examples from."""

import numpy as np
import pytest

from models import residue_constants as rc
from models.config import PRESETS
from training import chain_sets, dataset

LENGTHS = (41, 47, 53, 59, 61)
SEED = 11


@pytest.fixture
def folder(tmp_path):
    """Write five chains; chain 0 has chain 1 and chain 2 as hits, with known alignments."""
    rng = np.random.default_rng(SEED)
    total = sum(LENGTHS)
    store = tmp_path / "structuredb"
    store.mkdir()
    arrays = {
        "ids": np.array([f"{i}ABC_A" for i in range(len(LENGTHS))]),
        "offsets": np.concatenate([[0], np.cumsum(LENGTHS)]),
        "sequence": np.frombuffer(bytes(rng.choice(list(rc.RESTYPES.encode()), total).tolist()), np.uint8),
        "backbone": rng.normal(0, 10, (total, 5, 3)).astype(np.float32),
        "profile": np.full((total, 20), 0.05, np.float16),
        "dssp": np.frombuffer(bytes(rng.choice(list(b"HGIEBTSC"), total).tolist()), np.uint8),
    }
    for name, array in arrays.items():
        np.save(store / f"{name}.npy", array)
    np.savez(
        tmp_path / "hits.npz",
        query_offsets=np.array([0, 2, 2, 2, 2, 2]),
        target=np.array([1, 2]),
        identity=np.array([0.8, 0.3], np.float32),
        query_start=np.array([3, 0]),
        target_start=np.array([5, 2]),
        cigar_offsets=np.array([0, 3, 6]),
        cigar_kind=np.array([0, 2, 0, 0, 1, 0], np.int8),
        cigar_length=np.array([7, 4, 11, 13, 2, 17], np.int16),
    )
    return tmp_path


@pytest.fixture
def database(folder):
    return chain_sets.StructureDB(folder / "structuredb", folder / "hits.npz")


@pytest.fixture
def source(database):
    quiet = dataset.SamplingSettings(wrong_template_fraction=0.0, partial_template_fraction=0.0, allatom_fraction=0.0)
    return dataset.ExampleSource(database, None, np.arange(5), PRESETS["mini"], quiet)
