"""Search the databases with a batch of sequences: one pass over each database for all that the cache does not hold."""

import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pipeline.a3m import Alignment, format_a3m, parse_a3m
from pipeline.errors import FoldlineError
from pipeline.search.cache import Claims, Entry, Key, Place, settings_hash
from pipeline.search.engines import Engine, Found, Options, Query, Source

log = logging.getLogger(__name__)

Failure = FoldlineError | OSError | MemoryError


@dataclasses.dataclass(frozen=True)
class Search:
    """A database and how it is searched.

    Args:
        source: The database.
        engine: What searches it.
        options: Settings of the search; threads and the time budget change no finished result.
    """

    source: Source
    engine: Engine
    options: Options

    def key(self, sequence: str) -> Key:
        """Return what the alignment of a sequence is a function of."""
        options = self.options
        values = {"rounds": options.rounds, "inclusion_e_value": options.e_value, "max_rows": options.max_rows}
        hashed = settings_hash({"engine": self.engine.name, **values})
        database = self.source.database
        return Key(database.name, database.version, hashed, sequence, ".a3m")


@dataclasses.dataclass(frozen=True)
class Gathered:
    """What one database gave for one sequence.

    Args:
        database: Name and version of the database, and what searched it.
        entry: The alignment as A3M, and the facts about how it was made.
        cached: Whether it comes from the cache.
    """

    database: Mapping[str, str]
    entry: Entry
    cached: bool

    @property
    def alignment(self) -> Alignment:
        """The query and the rows that were found."""
        return parse_a3m(self.entry.text, f"{self.database['name']}-{self.database['version']}")


def gather(
    sequences: Sequence[str], searches: Sequence[Search], place: Place
) -> Iterator[tuple[str, list[Gathered] | Failure]]:
    """Search all databases with each sequence, or take earlier results from the cache.

    Args:
        sequences: Each once.
        searches: Databases in the order of their rows in the alignment.
        place: Cache and threads.

    Yields:
        A sequence as soon as it is done, and what each database gave for it or why there is nothing.
    """
    waiting: dict[str, list[Gathered | None]] = {}
    for sequence in sequences:
        held = [_held(search, sequence, place) for search in searches]
        whole = _whole(held)
        if whole is None:
            waiting[sequence] = held
        else:
            yield sequence, whole
    for number, search in enumerate(searches):
        missing = [sequence for sequence, held in waiting.items() if held[number] is None]
        for sequence, found in _searched(missing, search, place):
            if not isinstance(found, Gathered):
                del waiting[sequence]
                yield sequence, found
                continue
            waiting[sequence][number] = found
            whole = _whole(waiting[sequence])
            if whole is not None:
                del waiting[sequence]
                yield sequence, whole


def _searched(missing: Sequence[str], search: Search, place: Place) -> Iterator[tuple[str, Gathered | Failure]]:
    """Make the results that no other process is making, then wait for the others."""
    with place.cache.claims() as claims:
        while missing:
            mine = [sequence for sequence in missing if claims.take(search.key(sequence))]
            yield from _made(mine, search, place, claims)
            missing = [sequence for sequence in missing if sequence not in set(mine)]
            if missing and not mine:
                log.info("waiting for another process that searches %s", search.source.database.folder)
                claims.wait(search.key(missing[0]))


def _made(
    sequences: Sequence[str], search: Search, place: Place, claims: Claims
) -> Iterator[tuple[str, Gathered | Failure]]:
    """Search with sequences that are claimed; what another process has finished by now is not searched again."""
    to_do = []
    for sequence in sequences:
        held = _held(search, sequence, place)
        if held is None:
            to_do.append(sequence)
        else:
            claims.drop(search.key(sequence))
            yield sequence, held
    left = dict.fromkeys(to_do)
    try:
        for sequence, found in _run(to_do, search, place):
            del left[sequence]
            claims.drop(search.key(sequence))
            yield sequence, found
    except (FoldlineError, OSError, MemoryError) as error:
        for sequence in left:
            claims.drop(search.key(sequence))
            yield sequence, error


def _run(sequences: Sequence[str], search: Search, place: Place) -> Iterator[tuple[str, Gathered]]:
    """Run the engine on a batch and keep each result as it comes."""
    if not sequences:
        return
    options = dataclasses.replace(search.options, threads=place.threads)
    queries = [Query(f"query {number}", sequence) for number, sequence in enumerate(sequences, start=1)]
    start = time.perf_counter()
    for index, found in search.engine.search(queries, search.source, options):
        now = time.perf_counter()
        entry = Entry(format_a3m(found.alignment), _facts(found, now - start))
        start = now
        if not found.timed_out:  # how far a search comes in its time depends on the machine
            place.cache.put(search.key(sequences[index]), entry)
        yield sequences[index], Gathered(_names(search), entry, cached=False)


def _facts(found: Found, seconds: float) -> dict[str, Any]:
    """Return what the record says of a result beside its rows."""
    facts = dict(found.facts)
    return {
        "hits": found.hits,
        "hits_at_least": bool(facts.pop("hits_at_least", False)),
        "dropped": facts.pop("dropped", {}),
        "rounds": found.rounds,
        "converged": found.converged,
        "timed_out": found.timed_out,
        "seconds": round(seconds, 3),
        "facts": facts,
    }


def _held(search: Search, sequence: str, place: Place) -> Gathered | None:
    entry = place.cache.get(search.key(sequence))
    return None if entry is None else Gathered(_names(search), entry, cached=True)


def _names(search: Search) -> dict[str, str]:
    database = search.source.database
    return {"name": database.name, "version": database.version, "engine": search.engine.name}


def _whole(held: Sequence[Gathered | None]) -> list[Gathered] | None:
    """Return the results if none is missing."""
    there = [each for each in held if each is not None]
    return there if len(there) == len(held) else None
