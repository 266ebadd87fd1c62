"""Paths that a user gives: below a home folder, and as the workflow can have them."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.errors import ConfigError


def expanded(path: str | Path) -> Path:
    """Return a path with the home folder in the place of a leading `~` or `~NAME`.

    Raises:
        ConfigError: There is no such user, or this user has no home.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        problem = f"there is no home folder {Path(path).parts[0]!r}"
        raise ConfigError(problem, str(path), "write the whole path, or set HOME") from error


def refuse_braces(paths: Iterable[str | Path]) -> None:
    """Refuse paths that Snakemake would take for patterns: it knows no way to quote a brace in the name of an input.

    Raises:
        ConfigError: A path has a brace.
    """
    for path in map(str, paths):
        if not {"{", "}"}.isdisjoint(path):
            problem = "a run takes no path with braces, which are wildcards of Snakemake"
            raise ConfigError(problem, path, "rename it, or give a link to it")


def refuse_dashes(paths: Iterable[str | Path]) -> None:
    """Refuse paths that a command would take for options.

    Raises:
        ConfigError: A path begins with `-`.
    """
    for path in map(str, paths):
        if path.startswith("-"):
            problem = "a run takes no path that begins with '-', as an option does"
            raise ConfigError(problem, path, "rename it, or give a link to it")
