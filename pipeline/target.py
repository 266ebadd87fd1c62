"""The record of a target: its name, the header that the user gave, and its chains, of which there is one so far."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import RecordError
from pipeline.numbering import author_numbers
from pipeline.records import read_json

TARGET_SCHEMA = "foldline.target/2"
_MEND = "delete it, and run again"


@dataclasses.dataclass(frozen=True)
class Chain:
    """A protein chain.

    Args:
        sequence: One-letter codes of the 20 amino acids and X.
        numbering: The user's residue numbers, as `numbering.author_numbers` reads them.
        id: Its name in the structures.
    """

    sequence: str
    numbering: str = "1"
    id: str = "A"

    @property
    def author_numbers(self) -> tuple[str, ...]:
        """The number of each residue as the user gave it.

        Raises:
            NumberingError: The numbering does not fit the sequence.
        """
        return author_numbers(self.numbering, len(self.sequence))


@dataclasses.dataclass(frozen=True)
class Target:
    """What is predicted as one.

    Args:
        name: Safe as a file name; a function of the header alone.
        header: The header line as it was given, without `>`.
        chains: Its chains; one, as complexes are not predicted yet.
        notes: What was changed or looks odd, for the log.
        source: Where the record starts, `file:line`.
    """

    name: str
    header: str
    chains: tuple[Chain, ...]
    notes: tuple[str, ...] = ()
    source: str = ""

    @classmethod
    def monomer(cls, name: str, header: str, sequence: str, numbering: str = "1") -> "Target":
        """Return a target of one chain."""
        return cls(name, header, (Chain(sequence, numbering),))

    @property
    def chain(self) -> Chain:
        """The only chain."""
        (chain,) = self.chains
        return chain

    @property
    def sequence(self) -> str:
        """The sequence of the only chain."""
        return self.chain.sequence

    def record(self) -> dict[str, Any]:
        """Return what `target.json` says."""
        return {
            "name": self.name,
            "header": self.header,
            "length": sum(len(chain.sequence) for chain in self.chains),
            "chains": [dataclasses.asdict(chain) for chain in self.chains],
            "notes": list(self.notes),
        }


def read_target_record(path: Path) -> Target:
    """Read `target.json`.

    Raises:
        RecordError: The file is missing, damaged or of another version.
        NumberingError: Its residue numbers do not fit its sequence.
    """
    record = read_json(path, TARGET_SCHEMA)
    try:
        chains = tuple(_chain(chain, path) for chain in record["chains"])
        notes = tuple(map(str, record["notes"]))
        target = Target(str(record["name"]), str(record["header"]), chains, notes, str(path))
    except (KeyError, TypeError) as error:
        raise RecordError("expected a target with its chains", str(path), _MEND) from error
    if len(chains) != 1:
        raise RecordError(f"expected one chain, found {len(chains)}", str(path), _MEND)
    return target


def _chain(record: Mapping[str, Any], path: Path) -> Chain:
    chain = Chain(str(record["sequence"]), str(record["numbering"]), str(record["id"]))
    if not re.fullmatch("[A-Z]+", chain.sequence):
        raise RecordError("expected a sequence of upper-case letters", str(path), _MEND)
    author_numbers(chain.numbering, len(chain.sequence), str(path))
    return chain
