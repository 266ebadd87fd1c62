"""The record of template hits: what a profile found in the library, what is kept, and why the rest is not."""

import dataclasses
from pathlib import Path
from typing import Any

from pipeline.errors import RecordError
from pipeline.records import read_json, write_json

SCHEMA = "foldline.templates/1"


@dataclasses.dataclass(frozen=True)
class TemplateHit:
    """One chain of the library aligned to the query.

    Args:
        id: Entry and chain, for example `1ABC_A`.
        index: Place of the chain in the library.
        e_value: E-value of the alignment.
        score: Its bit score.
        identity: Share of equal letters among the aligned pairs, 0 to 1.
        coverage: Aligned pairs over the query's length, 0 to 1.
        query_start: First aligned position of the query, from 0.
        query_alignment: The query's letters, `-` for an insertion of the template.
        template_start: First aligned residue of the template, from 0.
        template_alignment: The template's letters, `-` for an insertion of the query.
        sum_probs: Number of aligned pairs.
        excluded: Why the hit is not used; empty where it is.
    """

    id: str
    index: int
    e_value: float
    score: float
    identity: float
    coverage: float
    query_start: int
    query_alignment: str
    template_start: int
    template_alignment: str
    sum_probs: float
    excluded: str = ""

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
    """The hits of one target, best first.

    Args:
        library: Name and version of the library that was searched; empty where none was.
        hits: Kept and excluded hits.
    """

    library: dict[str, str]
    hits: tuple[TemplateHit, ...]

    @property
    def kept(self) -> tuple[TemplateHit, ...]:
        """The hits that are used."""
        return tuple(hit for hit in self.hits if not hit.excluded)


def write_templates(path: Path, templates: TemplateHits) -> None:
    """Write the record as JSON."""
    write_json(path, templates, SCHEMA)


def read_templates(path: Path) -> TemplateHits:
    """Read the record.

    Raises:
        RecordError: The file is missing, damaged, of another version, or an alignment is not consistent.
    """
    record = read_json(path, SCHEMA)
    try:
        return templates_of(record)
    except (KeyError, TypeError, ValueError) as error:
        reason = f"the template hits are damaged ({type(error).__name__}: {error})"
        raise RecordError(reason, str(path), "run search again") from error


def templates_of(record: dict[str, Any]) -> TemplateHits:
    """Make the record of its JSON form.

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


def _check(hit: TemplateHit) -> None:
    for field in dataclasses.fields(hit):
        value = getattr(hit, field.name)
        kinds = (int, float) if field.type is float else (field.type,)
        if isinstance(value, bool) or not isinstance(value, kinds):  # type: ignore[arg-type]
            raise TypeError(f"{field.name} of {hit.id!r} is {value!r}")
    if len(hit.query_alignment) != len(hit.template_alignment):
        raise ValueError(f"the alignment of {hit.id!r} has rows of different lengths")
    if min(hit.query_start, hit.template_start, hit.index) < 0:
        raise ValueError(f"a place in {hit.id!r} is negative")
