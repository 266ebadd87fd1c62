"""The record of template hits: what was found or given, what is kept, and why the rest is not.

Hits of the library name its chains. The user's own chains are carried along: their atoms lie beside the record.
"""

import csv
import dataclasses
import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.residue_constants import ATOM37
from pipeline.errors import RecordError
from pipeline.records import read_json, read_npz, write_json, write_npz, write_text

SCHEMA = "foldline.templates/2"
OWN_SCHEMA = "foldline.own_templates/1"
OWN_FILE, TABLE_FILE = "own_templates.npz", "templates.tsv"
_COLUMNS = ("id", "source", "date", "identity", "coverage", "e_value", "score", "kept", "reason", "file")
LIBRARY, USER = "library", "user"
_MEND = "run search again"


class TemplateChain(NamedTuple):
    """The structure of a template.

    Args:
        sequence: One-letter codes, residues without atoms included.
        positions: Atom37 positions in angstrom, 0 where not known; shape (residues, 37, 3), float32.
        mask: Which atoms are known; shape (residues, 37), bool.
    """

    sequence: str
    positions: NDArray[np.float32]
    mask: NDArray[np.bool_]


@dataclasses.dataclass(frozen=True)
class TemplateHit:
    """One chain aligned to the query.

    Args:
        id: Entry and chain, for example `1ABC_A`; `own:` and the file's name for the user's.
        index: Place of the chain in the library, or among the user's.
        e_value: E-value of the best domain; None for the user's where it is not significant.
        score: Its score, bits.
        identity: Share of equal letters among the aligned pairs, 0 to 1.
        coverage: Aligned pairs over the query's length, 0 to 1.
        query_start: First aligned position of the query, from 0.
        query_alignment: The query's letters, `-` for an insertion of the template.
        template_start: First aligned residue of the template, from 0.
        template_alignment: The template's letters, `-` for an insertion of the query.
        sum_probs: Number of aligned pairs.
        excluded: Why the hit is not used; empty where it is.
        source: `library` or `user`.
        date: Release date of the entry, YYYY-MM-DD; empty where it is not known.
        file: The user's file, as given.
        sha256: Of that file.
    """

    id: str
    index: int
    e_value: float | None
    score: float
    identity: float
    coverage: float
    query_start: int
    query_alignment: str
    template_start: int
    template_alignment: str
    sum_probs: float
    excluded: str = ""
    source: str = LIBRARY
    date: str = ""
    file: str = ""
    sha256: str = ""

    def pairs(self) -> list[tuple[int, int]]:
        """Return the aligned pairs: position in the query, residue of the template."""
        query, template = self.query_start, self.template_start
        result = []
        for a, b in zip(self.query_alignment, self.template_alignment, strict=True):
            if a != "-" and b != "-":
                result.append((query, template))
            query += a != "-"
            template += b != "-"
        return result


@dataclasses.dataclass(frozen=True)
class TemplateHits:
    """The hits of one target, the user's first, then the library's, best first.

    Args:
        library: Name and version of the library that was searched; empty where none was.
        hits: Kept and excluded hits.
        own: The user's chains, by the index of their hits.
    """

    library: dict[str, str]
    hits: tuple[TemplateHit, ...]
    own: tuple[TemplateChain, ...] = dataclasses.field(default=(), compare=False, repr=False)

    @property
    def kept(self) -> tuple[TemplateHit, ...]:
        """The hits that are used."""
        return tuple(hit for hit in self.hits if not hit.excluded)

    def record(self) -> dict[str, Any]:
        """Return what JSON holds of the hits: all but the atoms."""
        return {"library": self.library, "hits": [dataclasses.asdict(hit) for hit in self.hits]}


def write_templates(path: Path, templates: TemplateHits) -> None:
    """Write the record as JSON, and beside it the table of all hits and the atoms of the user's chains, if any."""
    atoms, own = path.with_name(OWN_FILE), {}
    if templates.own:
        write_npz(atoms, _own_arrays(templates.own), OWN_SCHEMA)
        own = {"file": OWN_FILE, "sha256": hashlib.sha256(atoms.read_bytes()).hexdigest()}
    else:
        atoms.unlink(missing_ok=True)  # of an earlier run
    _write_table(path.with_name(TABLE_FILE), templates.hits)
    write_json(path, {**templates.record(), "own": own}, SCHEMA)


def read_templates(path: Path) -> TemplateHits:
    """Read the record, and the atoms of the user's chains.

    Raises:
        RecordError: A file is missing, damaged, of another version, or an alignment is not consistent.
    """
    record = read_json(path, SCHEMA)
    try:
        templates = templates_of(record)
        sha256 = str(record["own"]["sha256"]) if record["own"] else ""
    except (KeyError, TypeError, ValueError) as error:
        reason = f"the template hits are damaged ({type(error).__name__}: {error})"
        raise RecordError(reason, str(path), _MEND) from error
    own = _read_own(path.with_name(OWN_FILE), sha256) if sha256 else ()
    return dataclasses.replace(templates, own=own)


def templates_of(record: Mapping[str, Any]) -> TemplateHits:
    """Make the record of its JSON form, without atoms.

    Raises:
        KeyError, TypeError, ValueError: A part is missing, unknown or not consistent.
    """
    library = record["library"]
    if not isinstance(library, dict):
        raise TypeError("library is no mapping")
    hits = tuple(TemplateHit(**hit) for hit in record["hits"])
    for hit in hits:
        _check(hit)
    return TemplateHits({str(key): str(value) for key, value in library.items()}, hits)


_KINDS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("score", "identity", "coverage", "sum_probs"), (int, float)),
    "e_value": (int, float, type(None)),
}


def _check(hit: TemplateHit) -> None:
    for field in dataclasses.fields(hit):
        value = getattr(hit, field.name)
        kinds = _KINDS.get(field.name, (field.type,))
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise TypeError(f"{field.name} of {hit.id!r} is {value!r}")
    if hit.source not in (LIBRARY, USER):
        raise ValueError(f"the source of {hit.id!r} is {hit.source!r}")
    if len(hit.query_alignment) != len(hit.template_alignment):
        raise ValueError(f"the alignment of {hit.id!r} has rows of different lengths")
    if min(hit.query_start, hit.template_start, hit.index) < 0:
        raise ValueError(f"a place in {hit.id!r} is negative")


def _write_table(path: Path, hits: Sequence[TemplateHit]) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, delimiter="\t", lineterminator="\n", extrasaction="ignore")
    table.writeheader()
    for hit in hits:
        cells = {**dataclasses.asdict(hit), "kept": "no" if hit.excluded else "yes", "reason": hit.excluded}
        table.writerow({name: " ".join(str(cells[name] if cells[name] is not None else "").split()) for name in cells})
    write_text(path, text.getvalue())


def _own_arrays(chains: Sequence[TemplateChain]) -> dict[str, np.ndarray]:
    """Put chains one after the other."""
    return {
        "sequences": np.array([chain.sequence for chain in chains], dtype=str),
        "positions": np.concatenate([chain.positions for chain in chains]),
        "mask": np.concatenate([chain.mask for chain in chains]),
    }


def _read_own(path: Path, sha256: str) -> tuple[TemplateChain, ...]:
    arrays = read_npz(path, OWN_SCHEMA)
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise RecordError("the user's templates are not those of the template hits", str(path), _MEND)
    sequences = [str(sequence) for sequence in arrays["sequences"]]
    ends = np.cumsum([len(sequence) for sequence in sequences])
    if arrays["mask"].shape != (ends[-1], len(ATOM37)) or arrays["positions"].shape != (ends[-1], len(ATOM37), 3):
        raise RecordError("the user's templates are damaged", str(path), _MEND)
    parts = zip(np.split(arrays["positions"], ends[:-1]), np.split(arrays["mask"], ends[:-1]), strict=True)
    return tuple(TemplateChain(sequence, *part) for sequence, part in zip(sequences, parts, strict=True))
