"""Search: find homologous sequences of a target, and templates in the library that their profile recognises."""

import argparse
import dataclasses
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.a3m import GAP_ID, Alignment, encode, format_a3m, parse_a3m, write_a3m
from pipeline.databases.records import LIBRARY, Database, parse_database
from pipeline.errors import ConfigError
from pipeline.fasta import Target, read_target
from pipeline.library.store import TemplateLibrary
from pipeline.records import write_json
from pipeline.search.cache import Entry, Key, Place, SearchCache, settings_hash
from pipeline.search.engines import Options, Query, Source, engine
from pipeline.search.engines.hmmer import ENGINE
from pipeline.search.template_finder import TemplateFinder
from pipeline.search.template_own import with_own
from pipeline.search.template_settings import TemplateSettings
from pipeline.settings import add_flags, from_args, setting
from pipeline.templates import TemplateHits, write_templates

log = logging.getLogger(__name__)

SCHEMA = "foldline.search/1"
"""The entry of `databases` that stands for the sequences of the template library."""


@dataclasses.dataclass(frozen=True)
class _MsaSettings:
    """How to search sequences; each setting but `databases` is part of the cache's key."""

    databases: tuple[str, ...] = setting(
        (LIBRARY,), "databases: 'library', NAME=PATH:VERSION, or a mapping (docs/databases.md)"
    )
    rounds: int = setting(3, "most rounds of the iterated search, from 1")
    inclusion_e_value: float = setting(1e-3, "largest E-value of a sequence that joins the alignment")
    max_rows: int = setting(10_000, "most sequences of each database that join the alignment")


@dataclasses.dataclass(frozen=True)
class Settings(TemplateSettings, _MsaSettings):
    """How to search sequences and templates (the fields of the last base come first)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rounds", "max_rows"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not 0 < self.inclusion_e_value < math.inf:
            raise ConfigError(f"inclusion_e_value must be above 0 and finite, found {self.inclusion_e_value}")

    def msa_values(self) -> dict[str, Any]:
        """Return what the alignment of one database depends on."""
        names = ("rounds", "inclusion_e_value", "max_rows")
        return {"engine": ENGINE, **{name: getattr(self, name) for name in names}}


@dataclasses.dataclass(frozen=True)
class DatabaseResult:
    """What one database gave for one query."""

    alignment: Alignment
    facts: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """Everything that was found for a target.

    Args:
        alignment: The query and the rows of all databases, in their order.
        templates: Kept and excluded template hits.
        record: What `search.json` says.
    """

    alignment: Alignment
    templates: TemplateHits
    record: dict[str, Any]


def search(
    target: Target, sources: Sequence[Source], library: TemplateLibrary | None, settings: Settings, place: Place
) -> SearchResult:
    """Search all databases for a target, then the library with the profile of what was found.

    Args:
        target: The query.
        sources: Databases in the order of their rows in the alignment.
        library: Template library; None searches no templates.
        settings: How to search.
        place: Cache and threads.
    """
    start = time.perf_counter()
    results = [search_database(target.sequence, source, settings, place) for source in sources]
    alignment = combined(target, [result.alignment for result in results])
    templates, template_facts = TemplateHits({}, ()), _no_templates(target, library, settings)
    if library and not template_facts["reason"]:
        finder = TemplateFinder(library, _library_source(library, sources), settings, place)
        templates, template_facts = finder.find(alignment)
    templates, template_facts = with_own(templates, template_facts, target.name, alignment, settings)
    rounds = [result.facts["rounds"] for result in results]
    record = {
        "databases": [result.facts for result in results],
        "rounds": max(rounds, default=0),
        "converged": all(result.facts["converged"] for result in results),
        "rows": len(alignment),
        "depth": depth(alignment),
        "seconds": round(time.perf_counter() - start, 3),
        "cached": all(facts["cached"] for facts in [*(result.facts for result in results), template_facts]),
        "templates": template_facts,
        "settings": dataclasses.asdict(settings),
    }
    return SearchResult(alignment, templates, record)


def search_database(query: str, source: Source, settings: Settings, place: Place) -> DatabaseResult:
    """Search one database, or take an earlier result from the cache."""
    database = source.database
    key = Key(database.folder, settings_hash(settings.msa_values()), query, ".a3m")
    entry = place.cache.get(key)
    cached = entry is not None
    if entry is None:
        start = time.perf_counter()
        options = Options(settings.rounds, settings.inclusion_e_value, settings.max_rows, place.threads)
        (_, found), *_ = engine("").search([Query("query", query)], source, options)
        seconds = round(time.perf_counter() - start, 3)
        facts = {"rounds": found.rounds, "converged": found.converged, "seconds": seconds}
        entry = Entry(format_a3m(found.alignment), facts)
        place.cache.put(key, entry)
    alignment = parse_a3m(entry.text, str(place.cache.path(key)))
    named = {"name": database.name, "version": database.version, "rows": len(alignment) - 1}
    return DatabaseResult(alignment, {**named, **entry.facts, "cached": cached})


def combined(target: Target, alignments: Sequence[Alignment]) -> Alignment:
    """Put the rows of all databases under one query, named as the target."""
    names, rows = [target.name], [target.sequence]
    for alignment in alignments:
        names += alignment.names[1:]
        rows += alignment.rows[1:]
    return Alignment(tuple(names), tuple(rows))


def depth(alignment: Alignment) -> list[int]:
    """Return the number of residues in each column of the alignment, the query's included."""
    msa, _ = encode(alignment)
    return [int(count) for count in (msa != GAP_ID).sum(axis=0)]


def open_sources(settings: Settings, library: TemplateLibrary | None) -> list[Source]:
    """Return the databases of the settings, checked but not read yet.

    Raises:
        ConfigError: A database is not well named, is given twice, or is the library and none is given.
        LibraryError: A database does not exist.
    """
    if not settings.databases:
        raise ConfigError("no sequence database is named", mend=f"give one, or {LIBRARY!r}")
    sources = [_source(text, library) for text in settings.databases]
    names = [source.database.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"the database {name!r} is named twice")
    return sources


def main(argv: Sequence[str] | None = None) -> int:
    """Run `foldline search`."""
    arguments = _parser().parse_args(argv)
    settings = from_args(Settings, arguments)
    target = read_target(arguments.fasta)
    for note in target.notes:
        log.info("%s: %s", target.name, note)
    library = TemplateLibrary.open(arguments.library) if arguments.library else None
    place = Place(SearchCache(arguments.cache), max(1, arguments.threads))
    result = search(target, open_sources(settings, library), library, settings, place)
    write_a3m(arguments.msa, result.alignment)
    write_templates(arguments.templates, result.templates)
    write_json(arguments.report, result.record, SCHEMA)
    kept = result.record["templates"]["kept"]
    log.info("%s: %d rows, %d templates, %.1f s", target.name, len(result.alignment), kept, result.record["seconds"])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="foldline search", description="Find homologous sequences and templates of one target."
    )
    parser.add_argument("--fasta", type=Path, required=True, help="FASTA file with one record")
    parser.add_argument("--library", type=Path, help="folder of the template library")
    parser.add_argument("--cache", type=Path, help="folder of earlier searches, shared by runs (default: none)")
    parser.add_argument("--threads", type=int, default=1, help="threads (default: %(default)s)")
    parser.add_argument("--msa", type=Path, required=True, help="alignment to write, A3M")
    parser.add_argument("--templates", type=Path, required=True, help="template hits to write, JSON")
    parser.add_argument("--report", type=Path, required=True, help="record of the search to write, JSON")
    add_flags(parser, Settings)
    return parser


def _source(text: str, library: TemplateLibrary | None) -> Source:
    if text == LIBRARY:
        if library is None:
            raise ConfigError("the databases name the library, but no library is given", mend="give --library")
        return _library_source(library, ())
    return Source.of_file(parse_database(text))


def _library_source(library: TemplateLibrary, sources: Sequence[Source]) -> Source:
    """Return the library's sequences as a database, the one that is open already where there is one."""
    database = Database(library.name, library.path, library.version)
    opened = (source for source in sources if source.database == database)
    return next(opened, Source.of_records(database, library.ids, library.sequences))


def _no_templates(target: Target, library: TemplateLibrary | None, settings: Settings) -> dict[str, Any]:
    """Return the facts of a search without templates; the reason is empty where they are wanted."""
    reason = ""
    if not settings.use_templates:
        reason = "use_templates is off"
    elif target.name in settings.no_templates_for:
        reason = "the target is listed in no_templates_for"
    elif library is None:
        reason = "no library is given"
    return {"library": {}, "kept": 0, "excluded": 0, "seconds": 0.0, "cached": True, "reason": reason}
