"""What goes into an engine and what comes out: queries, options and alignments."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from pipeline.a3m import Alignment
from pipeline.search.engines.sources import Source


@dataclasses.dataclass(frozen=True)
class Query:
    """A sequence to search with.

    Args:
        name: What the log calls it; results do not depend on it.
        sequence: One-letter codes, X for unknown.
    """

    name: str
    sequence: str


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of a search that all engines know.

    Args:
        rounds: Most rounds of an iterated search.
        e_value: Largest E-value of a hit, and of a domain, that joins the alignment.
        max_rows: Most hits that join the alignment, best first.
        threads: Threads of the search; no result depends on them.
        seconds: Time budget of each query, seconds; 0 is none.
    """

    rounds: int = 3
    e_value: float = 1e-3
    max_rows: int = 10_000
    threads: int = 1
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search found for one query.

    Args:
        alignment: The query, named `query`, and the domains found in the last full round.
        rounds: Full rounds that were run.
        converged: Whether the last round found nothing new.
        timed_out: Whether the time budget ended the search; the alignment is that of the last full round.
        hits: Sequences found in that round, before the cap on rows.
        facts: What else the engine has to say, small values that JSON can hold: `dropped`, rows left out by
            reason (`e_value`: above it; `cap`); `hits_at_least`, whether there may be more hits than those counted,
            all beyond the cap.
    """

    alignment: Alignment
    rounds: int
    converged: bool
    timed_out: bool = False
    hits: int = 0
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Engine(Protocol):
    """A way to search sequence databases."""

    @property
    def name(self) -> str:
        """Name, version and settings of the engine: part of every cache key."""

    def search(self, queries: Sequence[Query], source: Source, options: Options) -> Iterator[tuple[int, Found]]:
        """Search one database with a batch of queries; a large one is read once for the batch and round.

        Args:
            queries: What to search with; each occurs once.
            source: The database.
            options: Settings of the search.

        Yields:
            The index of a query and what was found for it, as soon as it is done: not in the order of the queries.

        Raises:
            FoldlineError: The database cannot be read, or the engine's program fails.
        """
