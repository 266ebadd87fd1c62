"""The settings of the search, and what they mean for each database."""

import dataclasses
import math
from pathlib import Path

from pipeline.databases.records import LIBRARY, Database, parse_database
from pipeline.errors import ConfigError
from pipeline.library.store import TemplateLibrary
from pipeline.search.cache import Place
from pipeline.search.cache_items import INDICES
from pipeline.search.engine_settings import DEFAULT, of_all, of_engine
from pipeline.search.engines import Engine, Options, Source, engine
from pipeline.search.gather import Search
from pipeline.search.template_settings import TemplateSettings
from pipeline.settings import setting


@dataclasses.dataclass(frozen=True)
class _MsaSettings:
    """How to search sequences; what is a function of a setting here has it in its key in the cache."""

    databases: tuple[str, ...] = setting(
        (LIBRARY,), "databases: 'library', NAME=PATH:VERSION, or a mapping (docs/databases.md); none: no search"
    )
    own_msas: tuple[str, ...] = setting(
        (), "alignments of your own: folders of files called by target (NAME.a3m), or TARGET=FILE (docs/input.md)"
    )
    engine: str = setting(DEFAULT, "what searches the databases that name no engine of their own")
    rounds: int = setting(3, "most rounds of the iterated search, from 1")
    inclusion_e_value: float = setting(1e-3, "largest E-value of a sequence that joins the alignment")
    max_rows: int = setting(10_000, "most sequences of each database that join the alignment")
    min_row_coverage: float = setting(0.0, "smallest share of the target's residues that a row aligns to, 0-1")
    min_row_identity: float = setting(0.0, "smallest share of a row's aligned residues that equal the target's, 0-1")
    seconds: float = setting(0.0, "time budget of one target in one database, seconds of wall time; 0 for none")


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
        for name in ("min_row_coverage", "min_row_identity"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be from 0 to 1, found {getattr(self, name)}")
        if not 0 <= self.seconds < math.inf:
            raise ConfigError(f"seconds must be at least 0 and finite, found {self.seconds}")


def open_searches(settings: Settings, library: TemplateLibrary | None, place: Place) -> list[Search]:
    """Return the databases of the settings and how each is searched, checked but not read yet.

    Raises:
        ConfigError: A database is not well named, is given twice, is the library and none is given, or has a setting
            that means nothing.
        LibraryError: A database does not exist.
    """
    searches = [_search(_opened(text, library), settings, place) for text in settings.databases]
    names = [search.source.database.name for search in searches]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"the database {name!r} is named twice")
    return searches


def library_source(library: TemplateLibrary, searches: list[Search]) -> Source:
    """Return the library's sequences as a database, the one that is open already where there is one."""
    database = Database(library.name, library.path, library.version)
    opened = (search.source for search in searches if search.source.database == database)
    return next(opened, Source.of_records(database, library.ids, library.sequences))


def _opened(text: str, library: TemplateLibrary | None) -> Source:
    if text == LIBRARY:
        if library is None:
            raise ConfigError("the databases name the library, but no library is given", mend="give --library")
        return library_source(library, [])
    database = parse_database(text)
    if database.kind == LIBRARY:
        other = TemplateLibrary.open(database.path)
        return Source.of_records(database, other.ids, other.sequences)
    return Source.of_file(database)


def method_of(database: Database, settings: Settings, place: Place) -> tuple[Engine, Options]:
    """Return what searches a database, and how.

    Raises:
        ConfigError: No engine has this name, or a setting of the database means nothing.
        FoldlineError: The engine's program is not installed.
    """
    here = dataclasses.replace(settings, **of_all(database), max_rows=database.max_rows or settings.max_rows)
    options = Options(here.rounds, here.inclusion_e_value, here.max_rows, place.threads, here.seconds)
    return engine(database.engine or settings.engine, of_engine(database), _indices(place)), options


def _search(source: Source, settings: Settings, place: Place) -> Search:
    return Search(source, *method_of(source.database, settings, place))


def _indices(place: Place) -> Path | None:
    return place.cache.root / INDICES if place.cache.root else None
