"""The data of a run: weights, databases, the library."""

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.config import find
from pipeline.databases.check import check
from pipeline.doctor.finding import Finding
from pipeline.download.fetch import in_words
from pipeline.errors import FoldlineError
from pipeline.library.store import TemplateLibrary
from pipeline.predict.settings import from_section
from pipeline.predict.weights import weights_files
from pipeline.weights.command import state
from pipeline.weights.records import read_record, set_of


def check_weights(config: Mapping[str, Any]) -> Iterator[Finding]:
    """Look at the parameters of the networks that a config chooses."""
    try:
        names = from_section(config["predict"]).model_names
        files = weights_files(names)
    except FoldlineError as error:
        yield Finding("weights", "problem", _without_mend(error), error.mend)
        return
    for model, path in files.items():
        yield _weights_of(model, path)


def check_library(config: Mapping[str, Any]) -> Finding:
    """Look whether the template library opens, and its files have the sizes that its record says."""
    folder = find(config["databases"]["library"])
    try:
        library = TemplateLibrary.open(folder)
    except FoldlineError as error:
        return Finding("library", "problem", _without_mend(error), error.mend or "set databases.library to its folder")
    return Finding("library", "ok", f"{library.name} {library.version}: {len(library)} chains in {folder}")


def check_databases(config: Mapping[str, Any], source: Path | None) -> Iterator[Finding]:
    """Look at the databases that a config names, without reading them."""
    try:
        states = check(config, source, quick=True)
    except FoldlineError as error:
        yield Finding("databases", "problem", _without_mend(error), error.mend)
        return
    if not states:
        yield Finding("databases", "note", "none: nothing is searched (search.databases)")
    for each in states:
        if each.problem:
            mend = f"correct {each.place}; `foldline databases check` says more"
            yield Finding("databases", "problem", f"{each.name}: {each.problem}" if each.name else each.problem, mend)
        else:
            yield Finding("databases", "ok", f"{each.name} {each.version}: {in_words(each.bytes)} in {each.path}")


def _weights_of(model: str, path: Path) -> Finding:
    published = set_of(model)
    name = published.models[model] if published else ""
    if published and path == published.folder / name:
        known = state(published, name, read_record(published).get(name))
    else:
        known = _archive_state(path)
    text = f"{model}: {known}, {in_words(path.stat().st_size)}, {path}"
    if known == "damaged":
        return Finding("weights", "problem", text, "fetch or copy the file again")
    if known.startswith(("verified", "whole")):
        return Finding("weights", "ok", text)
    return Finding("weights", "note", text, f"run: foldline weights verify {model}")


def _archive_state(path: Path) -> str:
    """Say whether an archive of parameters is whole by its own checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "whole" if archive.testzip() is None else "damaged"
    except (OSError, zipfile.BadZipFile):
        return "damaged"


def _without_mend(error: FoldlineError) -> str:
    return f"{error.where}: {error.problem}" if error.where else error.problem
