"""Search: find homologous sequences of a target, and templates in the library that their profile recognises."""

import argparse
import dataclasses
import functools
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.a3m import GAP_ID, Alignment, encode, format_a3m, parse_a3m, write_a3m
from pipeline.databases.records import LIBRARY, Database, parse_database
from pipeline.errors import ConfigError
from pipeline.fasta import Target, read_target
from pipeline.library.store import TemplateLibrary
from pipeline.records import write_json
from pipeline.search.cache import Entry, Key, SearchCache, settings_hash
from pipeline.search.hmmer import (
    ENGINE,
    DomainHit,
    Iteration,
    Sequences,
    best_domains,
    iterate,
    make_sequences,
    profile,
)
from pipeline.search.hmmer import read_sequences as read_sequence_file
from pipeline.settings import add_flags, from_args, setting
from pipeline.templates import TemplateHit, TemplateHits, templates_of, write_templates

log = logging.getLogger(__name__)

SCHEMA = "foldline.search/1"
"""The entry of `databases` that stands for the sequences of the template library."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to search; each setting but `databases` and `no_templates_for` is part of the cache's key."""

    databases: tuple[str, ...] = setting((LIBRARY,), "sequence databases, NAME=PATH:VERSION each, or 'library'")
    rounds: int = setting(3, "most rounds of the iterated search, from 1")
    inclusion_e_value: float = setting(1e-3, "largest E-value of a sequence that joins the alignment")
    max_rows: int = setting(10_000, "most sequences of each database that join the alignment")
    use_templates: bool = setting(True, "search templates")
    no_templates_for: tuple[str, ...] = setting((), "names of targets that get no templates")
    template_e_value: float = setting(1e-3, "largest E-value of a template")
    max_template_hits: int = setting(20, "most templates that are kept")
    min_template_coverage: float = setting(0.1, "smallest share of the target that a template aligns to, 0-1")
    max_template_identity: float = setting(1.0, "largest identity of a template, 0-1; below 1 for benchmarks")
    exclude_templates: tuple[str, ...] = setting((), "entries (1ABC) or chains (1ABC_A) that are no templates")
    held_out_templates: bool = setting(True, "use the library's chains that are held out for evaluation")

    def __post_init__(self) -> None:
        for name in ("rounds", "max_rows", "max_template_hits"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, found {getattr(self, name)}")
        for name in ("inclusion_e_value", "template_e_value"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be above 0 and finite, found {getattr(self, name)}")
        for name in ("min_template_coverage", "max_template_identity"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be from 0 to 1, found {getattr(self, name)}")

    def msa_values(self) -> dict[str, Any]:
        """Return what the alignment of one database depends on."""
        names = ("rounds", "inclusion_e_value", "max_rows")
        return {"engine": ENGINE, **{name: getattr(self, name) for name in names}}

    def template_values(self) -> dict[str, Any]:
        """Return what the templates of an alignment depend on."""
        left_out = {"databases", "use_templates", "no_templates_for"}
        names = [field.name for field in dataclasses.fields(self) if field.name not in left_out]
        return {"engine": ENGINE, **{name: getattr(self, name) for name in names}}


@dataclasses.dataclass(frozen=True)
class Source:
    """A database, whose sequences are read when a search first needs them.

    Args:
        database: Its name and version.
        load: Reads the sequences.
    """

    database: Database
    load: Callable[[], Sequences]

    @functools.cached_property
    def sequences(self) -> Sequences:
        """The sequences, read once."""
        log.info("reading %s (%s)", self.database.folder, self.database.path)
        return self.load()


@dataclasses.dataclass(frozen=True)
class Place:
    """Where results are kept and how many threads make them.

    Args:
        cache: Results of earlier searches.
        threads: Threads for one query.
    """

    cache: SearchCache = dataclasses.field(default_factory=SearchCache)
    threads: int = 1


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
        templates, template_facts = finder.find(alignment, [source.database.folder for source in sources])
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
        options = Iteration(settings.rounds, settings.inclusion_e_value, settings.max_rows, place.threads)
        found = iterate(query, source.sequences, options)
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


@dataclasses.dataclass(frozen=True)
class TemplateFinder:
    """Find templates with the profile of an alignment.

    Args:
        library: Where they come from.
        source: Its sequences.
        settings: Which hits are kept.
        place: Cache and threads.
    """

    library: TemplateLibrary
    source: Source
    settings: Settings
    place: Place

    def find(self, alignment: Alignment, databases: Sequence[str]) -> tuple[TemplateHits, dict[str, Any]]:
        """Return the hits, best first, and the facts for the record.

        Args:
            alignment: Query and homologs.
            databases: Names and versions of the databases that the alignment was made of.
        """
        values = {**self.settings.template_values(), "databases": list(databases)}
        folder = f"templates-{self.source.database.folder}"
        key = Key(folder, settings_hash(values), alignment.query, ".json")
        entry = self.place.cache.get(key)
        cached = entry is not None
        if entry is None:
            start = time.perf_counter()
            found = self._search(alignment)
            text = json.dumps(dataclasses.asdict(found), indent=1) + "\n"
            entry = Entry(text, {"seconds": round(time.perf_counter() - start, 3)})
            self.place.cache.put(key, entry)
        hits = templates_of(json.loads(entry.text))
        counts = {"kept": len(hits.kept), "excluded": len(hits.hits) - len(hits.kept)}
        return hits, {"library": hits.library, **counts, **entry.facts, "cached": cached, "reason": ""}

    def _search(self, alignment: Alignment) -> TemplateHits:
        query, settings = alignment.query, self.settings
        hmm = profile(alignment)
        domains = best_domains(hmm, query, self.source.sequences, settings.template_e_value, self.place.threads)
        hits: list[TemplateHit] = []
        for domain in domains:
            if sum(not hit.excluded for hit in hits) == settings.max_template_hits:
                break
            hit = template_hit(domain, self.library.ids[domain.index], len(query))
            reason = exclusion(hit, self.library.held_out(hit.index), settings)
            hits.append(dataclasses.replace(hit, excluded=reason))
        return TemplateHits({"name": self.library.name, "version": self.library.version}, tuple(hits))


def template_hit(domain: DomainHit, chain: str, query_length: int) -> TemplateHit:
    """Return the record of a domain, with its identity and coverage over the aligned pairs."""
    columns = zip(domain.query_alignment, domain.target_alignment, strict=True)
    pairs = [(a, b) for a, b in columns if "-" not in (a, b)]
    return TemplateHit(
        id=chain,
        index=domain.index,
        e_value=domain.e_value,
        score=round(domain.score, 2),
        identity=round(sum(a == b for a, b in pairs) / max(1, len(pairs)), 4),
        coverage=round(len(pairs) / query_length, 4),
        query_start=domain.query_start,
        query_alignment=domain.query_alignment,
        template_start=domain.target_start,
        template_alignment=domain.target_alignment,
        sum_probs=float(len(pairs)),
    )


def exclusion(hit: TemplateHit, held_out: bool, settings: Settings) -> str:
    """Return why a hit is not used, empty where it is."""
    if hit.coverage < settings.min_template_coverage:
        return f"coverage {hit.coverage:.2f} below min_template_coverage {settings.min_template_coverage}"
    if hit.identity > settings.max_template_identity:
        return f"identity {hit.identity:.2f} above max_template_identity {settings.max_template_identity}"
    listed = {word.upper() for word in settings.exclude_templates}
    if listed & {hit.id.upper(), hit.id.partition("_")[0].upper()}:
        return "listed in exclude_templates"
    if held_out and not settings.held_out_templates:
        return "held out for evaluation"
    return ""


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
    database = parse_database(text)
    return Source(database, functools.partial(read_sequence_file, database.path))


def _library_source(library: TemplateLibrary, sources: Sequence[Source]) -> Source:
    """Return the library's sequences as a database, the one that is open already where there is one."""
    database = Database(library.name, library.path, library.version)
    load = functools.partial(make_sequences, library.ids, library.sequences)
    return next((source for source in sources if source.database == database), Source(database, load))


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
