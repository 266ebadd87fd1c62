"""Where a prediction comes from, for its mmCIF file: put together from the records of the search beside it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.cif import Tables
from pipeline.errors import RecordError
from pipeline.features import RawFeatures
from pipeline.modelcif import Database, Description, Software, described
from pipeline.predict.records import ARRAYS, Job, Prediction, label_of
from pipeline.provenance import search_record
from pipeline.templates import TemplateHit, read_templates

_NOT_PARAMETERS = ("features_sha256", "software", "padding")
_ALIGNMENT, _TEMPLATES = "msa.a3m", "templates.json"


def describe(job: Job, features: RawFeatures, prediction: Prediction, made_from: Mapping[str, Any]) -> Tables:
    """Return the tables that say how a prediction was made.

    Args:
        job: The target; the records of its search lie in its folder.
        features: What the network read.
        prediction: What it gave.
        made_from: What that is a function of, as its record says.
    """
    record = search_record(job.folder)
    templates = record.get("templates") or {}
    databases = [] if record.get("own") else record.get("databases", [])
    return described(
        Description(
            chain=label_of(job).chain.id,
            mean_plddt=float(prediction.plddt.mean()),
            parameters=_parameters(made_from),
            network=f"{made_from['model']}, sha256 {made_from['weights_sha256']}",
            databases=tuple(_database(one) for one in databases),
            alignment=_ALIGNMENT if record else "",
            engines=_engines(databases),
            library=_database(templates["library"]) if templates.get("library") else None,
            templates=_read(job.folder / _TEMPLATES, features.template_ids[: prediction.templates]),
            ptm=prediction.ptm,
            pae_file="" if prediction.pae is None else ARRAYS,
        )
    )


def _parameters(made_from: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in made_from.items() if name not in _NOT_PARAMETERS and value is not None}
    libraries = {f"{name}_version": v for name, v in made_from.get("software", {}).items() if name != "foldline"}
    return known | libraries


def _database(record: Mapping[str, Any]) -> Database:
    return Database(str(record.get("name", "")), str(record.get("version", "")))


def _engines(databases: Sequence[Mapping[str, Any]]) -> tuple[Software, ...]:
    """Return what searched; an engine's name is a word, a slash, and versions and settings."""
    names = dict.fromkeys(str(one.get("engine") or "") for one in databases)
    parts = [name.partition("/") for name in names if name]
    return tuple(Software(word, version, "sequence alignment") for word, _, version in parts)


def _read(path: Path, used: Iterable[str]) -> tuple[TemplateHit, ...]:
    """Return the hits that the network read, in its order."""
    try:
        hits = {hit.id: hit for hit in reversed(read_templates(path).kept)}
    except RecordError:  # features that were made elsewhere
        return ()
    return tuple(hits[name] for name in used if name in hits)
