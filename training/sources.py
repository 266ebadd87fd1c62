"""What a training is made from: the sets of chains that its flags name, and which of them are held back.

A chain that is held back has no hit among those that are trained on.
"""

import argparse
import dataclasses
import logging
from pathlib import Path

import numpy as np

from models.config import PRESETS
from pipeline.errors import ConfigError
from training.chain_sets import AllAtomChains, StructureDB
from training.dataset import ExampleSource

log = logging.getLogger(__name__)

VALIDATION, DEVELOPMENT = 96, 32  # chains
_SHORTEST = 30  # residues of a chain to train on
_WORD = 8  # residues; two unrelated chains hardly share so many in a row


@dataclasses.dataclass(frozen=True)
class Number:
    """How many chains are held back, for the final figures and for choices along the way."""

    validation: int = VALIDATION
    development: int = DEVELOPMENT


@dataclasses.dataclass(frozen=True)
class HeldBack:
    """Chains without a hit among the training chains: for the final figures, and for choices along the way."""

    validation: np.ndarray
    development: np.ndarray


def open_source(
    arguments: argparse.Namespace, model: str = "mini", number: Number = Number()
) -> tuple[ExampleSource, HeldBack]:
    """Return the source of training examples and the chains held back.

    Args:
        arguments: Of the flags of `add_data_flags`.
        model: Preset of models/config.py.
        number: Of the chains to hold back.

    Raises:
        ConfigError: More chains are to be held back than there are, or none remains.
    """
    folder = arguments.data
    database = StructureDB(folder / "structuredb", folder / "hits.npz", read_ids(arguments.exclude))
    omitted = read_ids(arguments.omit) if arguments.omit else frozenset()
    training, validation, development = _divided(database, omitted, number)
    allatom = AllAtomChains(arguments.allatom) if arguments.allatom else None
    source = ExampleSource(database, allatom, training, PRESETS[model])
    if allatom:
        validation = unseen(database, validation, allatom)
        development = unseen(database, development, allatom)
    log.info("%d chains to train on, %d to validate on", len(training), len(validation))
    return source, HeldBack(validation, development)


def _divided(
    database: StructureDB, omitted: frozenset[str], number: Number
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the chains for training, validation and development."""
    try:
        training, validation = split(database, number.validation, seed=0)
        training = training[~np.isin(database.ids[training], list(omitted))]
        development = training[:0]
        if number.development:
            training, development = hold_back(database, training, number.development, seed=1)
    except ValueError as error:  # NumPy's, of a choice of more than there are
        counts = f"--validation-chains {number.validation} --development-chains {number.development}"
        raise ConfigError("there are not as many chains of 40 to 200 residues to hold back", counts) from error
    if not len(training):
        raise ConfigError("no chain remains to train on", mend="hold back fewer, or exclude fewer")
    return training, validation, development


def split(database: StructureDB, validation_chains: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return indices for training and validation; excluded chains are in neither."""
    training, validation = hold_back(database, np.flatnonzero(database.allowed), validation_chains, seed)
    return training[database.lengths[training] >= _SHORTEST], validation


def hold_back(database: StructureDB, among: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the chains that remain, and those held back.

    These have 40 to 200 residues and no hit among the rest: what is similar to one of them is in neither.
    """
    rng = np.random.default_rng(seed)
    suitable = among[(database.lengths[among] >= 40) & (database.lengths[among] <= 200)]
    held = np.sort(rng.choice(suitable, count, replace=False))
    related = set(held.tolist())
    for i in held:
        related.update(database.hits(int(i)).target.tolist())
    held_set = set(held.tolist())
    rest = [i for i in among if i not in related and not held_set.intersection(database.hits(int(i)).target.tolist())]
    return np.array(rest, among.dtype), held


def unseen(database: StructureDB, validation: np.ndarray, allatom: AllAtomChains) -> np.ndarray:
    """Return the validation chains that share no eight residues in a row with an all-atom chain."""
    seen = {text[i : i + _WORD] for text in allatom.letters() for i in range(len(text) - _WORD + 1)}
    texts = (database.letters(int(i)).tobytes().decode("ascii") for i in validation)
    clean = [all(text[k : k + _WORD] not in seen for k in range(len(text) - _WORD + 1)) for text in texts]
    return validation[np.array(clean, bool)]


def read_ids(path: Path) -> frozenset[str]:
    """Return the chain ids of a list, one per line; lines that start with # are remarks."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


def add_data_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that name the training data."""
    parser.add_argument("--data", type=Path, required=True, help="folder with structuredb/ and hits.npz")
    parser.add_argument("--exclude", type=Path, required=True, help="list of chain ids never to train on")
    parser.add_argument("--omit", type=Path, help="list of more chain ids not to train on; they may be templates")
    parser.add_argument("--allatom", type=Path, help="npz of all-atom chains, for the side chains")
