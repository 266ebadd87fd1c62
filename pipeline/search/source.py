"""A database of a search: what is read of it, and when."""

import dataclasses
import functools
import logging
from collections.abc import Callable

from pipeline.databases.records import Database
from pipeline.search.hmmer import Sequences

log = logging.getLogger(__name__)


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
