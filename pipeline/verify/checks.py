"""Whether the files of a run are whole and belong together, by their checksums and schemas."""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.batch_record import FAILED, entries_in, record_file
from pipeline.errors import FoldlineError, RecordError
from pipeline.fasta import read_target
from pipeline.outcomes import MADE
from pipeline.plan import PLAN_SCHEMA
from pipeline.predict.records import CONFIDENCE_SCHEMA, RANKING, RECORD, RUNNING, STRUCTURE
from pipeline.provenance import FILE, sha256
from pipeline.provenance import SCHEMA as PROVENANCE_SCHEMA
from pipeline.ranking import ranked_folders
from pipeline.records import read_json, read_npz
from pipeline.target import read_target_record

Problem = tuple[str, str]
"""A file below the target's folder, and what is wrong with it."""
_RELAX = ("relax.json", "foldline.relax/1", "relaxed.cif")
_FEATURES = ("features.json", "foldline.featurize/1")
_ARRAYS = {"features.npz": "foldline.features/1", "confidence.npz": CONFIDENCE_SCHEMA}
_ALWAYS = ("target.fasta", "target.json", *(name for names in MADE.values() for name in names))
_OF_THE_RUN = ("report.html", "summary.tsv", "summary.json", "config.yaml")


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is not as it should be.

    Args:
        target: Name of the target; empty for a file of the run.
        file: Below the target's folder, or the run's.
        problem: In words.
    """

    target: str
    file: str
    problem: str


@dataclasses.dataclass(frozen=True)
class Results:
    """A run's folder and what its plan says.

    Args:
        folder: Of the run.
        targets: Their names.
        batch_of: Name of each target's batch.
        search_of: Number of each target's search.
        relax_of: Name of each target's relaxation.
    """

    folder: Path
    targets: tuple[str, ...]
    batch_of: Mapping[str, str]
    search_of: Mapping[str, str]
    relax_of: Mapping[str, str]

    def of(self, target: str) -> Path:
        """Return the folder of a target."""
        return self.folder / "targets" / target

    def record(self, stage: str, target: str) -> Path:
        """Return the record of the batch of a stage that a target is in."""
        of_stage = {"search": self.search_of, "featurize": self.search_of, "relax": self.relax_of}
        return record_file(self.folder, stage, of_stage.get(stage, self.batch_of)[target])


@dataclasses.dataclass(frozen=True)
class _Place:
    """A target of a run, and its folder."""

    results: Results
    target: str

    @property
    def folder(self) -> Path:
        return self.results.of(self.target)

    def entry(self, stage: str) -> dict[str, Any]:
        """Return what the record of a stage's batch says of the target.

        Raises:
            RecordError: The record is missing or damaged, or does not name the target.
        """
        path = self.results.record(stage, self.target)
        found = next((entry for entry in entries_in(path) if entry["name"] == self.target), None)
        if found is None:
            raise RecordError("does not name the target", str(path))
        return found


Check = Callable[[_Place], Iterator[Problem]]


def results_of(folder: Path) -> Results:
    """Read what a run was to make.

    Raises:
        RecordError: The folder holds no run.
    """
    plan = read_json(folder / "plan.json", PLAN_SCHEMA)
    try:
        names = (folder / "targets.txt").read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError("expected the names of the targets", str(folder / "targets.txt"), "run it again") from error
    assigned = [plan.get(key, {}) for key in ("batches", "searches", "relaxations")]
    unknown = next((name for name in names if not all(name in of_stage for of_stage in assigned)), None)
    if unknown is not None:
        raise RecordError(f"the target {unknown!r} is not in the plan", str(folder / "plan.json"), "run it again")
    return Results(folder, tuple(names), *assigned)


def check_run(results: Results) -> Iterator[Finding]:
    """Give what is missing or changed among the files of the run itself."""
    for name in _OF_THE_RUN:
        if not (results.folder / name).is_file():
            yield Finding("", name, "missing")


def check_target(results: Results, target: str) -> list[Finding]:
    """Return what is missing or changed among the files of a target; its failure, where it failed."""
    place = _Place(results, target)
    before = _collected(
        place, (functools.partial(_failure, stage=stage) for stage in ("search", "featurize", "predict"))
    )
    failed = [problem for problem in before if not problem[0]]
    problems = failed[:1] or [*before, *_collected(place, [*_CHECKS, *_of_models(place)])]
    return [Finding(target, file, problem) for file, problem in dict.fromkeys(problems)]


def _collected(place: _Place, checks: Iterable[Check]) -> list[Problem]:
    """Return what all checks find, and the files that ended one because they cannot be read."""
    found: list[Problem] = []
    for check in checks:
        try:
            for problem in check(place):
                found.append(problem)
        except FoldlineError as error:
            file = _below(place.folder, error.where)
            found += [] if (file, "missing") in found else [(file, error.problem)]
    return found


def _failure(place: _Place, stage: str) -> Iterator[Problem]:
    """Give why a stage failed, where it did."""
    entry = place.entry(stage)
    if entry["status"] == FAILED:
        yield "", f"failed: {entry.get('reason', '')}"


def _files(place: _Place) -> Iterator[Problem]:
    if (place.folder / RUNNING).exists():
        yield RUNNING, "a prediction goes on, or was killed"
    yield from ((name, "missing") for name in _ALWAYS if not (place.folder / name).is_file())


def _arrays(place: _Place, name: str) -> Iterator[Problem]:
    if (place.folder / name).is_file():
        read_npz(place.folder / name, _ARRAYS[name])
    yield from ()


def _same_sequence(place: _Place) -> Iterator[Problem]:
    fasta, record = place.folder / "target.fasta", place.folder / "target.json"
    if not (fasta.is_file() and record.is_file()):
        return
    if read_target(fasta).sequence != read_target_record(record).sequence:
        yield "target.fasta", "holds another sequence than target.json"


def _search(place: _Place) -> Iterator[Problem]:
    entry = place.entry("search")
    recorded = {"msa.a3m": entry.get("msa_sha256"), "templates.json": entry.get("templates_sha256")}
    yield from _changed(place.folder, recorded, "its search")


def _features(place: _Place) -> Iterator[Problem]:
    name, schema = _FEATURES
    if (place.folder / name).is_file():
        yield from _changed(place.folder, _part(place.folder / name, schema, "files"), name)


def _prediction(place: _Place) -> Iterator[Problem]:
    yield from _changed(place.folder, _part(place.folder / RECORD, CONFIDENCE_SCHEMA, "files"), RECORD)
    made_from = _part(place.folder / RECORD, CONFIDENCE_SCHEMA, "made_from")
    yield from _changed(place.folder, {"features.npz": made_from.get("features_sha256")}, RECORD)
    if (place.folder / FILE).is_file():
        weights = _part(place.folder / FILE, PROVENANCE_SCHEMA, "weights")
        if weights.get(str(made_from.get("model"))) != made_from.get("weights_sha256"):
            yield FILE, f"names other weights than {RECORD}"


def _provenance(place: _Place, key: str) -> Iterator[Problem]:
    yield from _changed(place.folder, _part(place.folder / FILE, PROVENANCE_SCHEMA, key), FILE)


def _of_the_batch(place: _Place) -> Iterator[Problem]:
    digest = place.entry("predict").get("predicted_sha256")
    yield from _changed(place.folder, {STRUCTURE: digest}, "the record of its batch")


def _relaxation(place: _Place, folder: str = "") -> Iterator[Problem]:
    """Give what is wrong with the relaxation of a prediction, whose folder is one below the target's."""
    prefix = f"{folder}/" if folder else ""
    (name, schema, structure), path = _RELAX, place.folder / prefix / _RELAX[0]
    if read_json(path, schema).get("files") is None:
        yield f"{prefix}{name}", "says nothing of its files: it is of an earlier version"
        return
    files = {structure: None, **_part(path, schema, "files")}
    yield from _changed(place.folder, {f"{prefix}{file}": d for file, d in files.items()}, f"{prefix}{name}")
    predicted = path.with_name(STRUCTURE)
    if predicted.is_file() and _part(path, schema, "made_from").get("structure_sha256") != sha256(predicted):
        yield f"{prefix}{name}", f"comes from another {STRUCTURE}"


def _ranking(place: _Place) -> Iterator[Problem]:
    if (place.folder / RANKING).is_file():
        ranked_folders(place.folder / RANKING)
    yield from ()


def _model(place: _Place, folder: str) -> Iterator[Problem]:
    files = _part(place.folder / folder / RECORD, CONFIDENCE_SCHEMA, "files")
    yield from _changed(place.folder, {f"{folder}/{name}": d for name, d in files.items()}, f"{folder}/{RECORD}")


def _of_models(place: _Place) -> Iterator[Check]:
    """Give the checks of each prediction that is ranked, and of its relaxation where all are relaxed."""
    folders: list[str] = []
    with contextlib.suppress(RecordError):  # of which there is a check
        folders = ranked_folders(place.folder / RANKING)
    yield from (functools.partial(_model, folder=folder) for folder in folders)
    with contextlib.suppress(RecordError):
        if _part(place.folder / _RELAX[0], _RELAX[1], "settings").get("models") == "all":
            yield from (functools.partial(_relaxation, folder=folder) for folder in folders)


_CHECKS: tuple[Check, ...] = (
    _files,
    _same_sequence,
    *(functools.partial(_arrays, name=name) for name in _ARRAYS),
    _search,
    _features,
    _prediction,
    *(functools.partial(_provenance, key=key) for key in ("inputs", "outputs")),
    _of_the_batch,
    _relaxation,
    _ranking,
    *(functools.partial(_failure, stage=stage) for stage in ("relax", "report")),
)
"""What is looked at of every target, in order."""


def _changed(folder: Path, recorded: Mapping[str, str | None], where: str) -> Iterator[Problem]:
    """Give the files that are missing, or not those that a record names."""
    for name, digest in recorded.items():
        if not (folder / name).is_file():
            yield name, "missing"
        elif digest and sha256(folder / name) != digest:
            yield name, f"is not the file that {where} names"


def _part(path: Path, schema: str, key: str) -> dict[str, Any]:
    """Return a part of a record.

    Raises:
        RecordError: The record is missing or damaged.
    """
    part = read_json(path, schema).get(key)
    if not isinstance(part, dict):
        raise RecordError(f"says nothing of its {key}", str(path))
    return part


def _below(folder: Path, where: str) -> str:
    """Return a place as it is shown: a file of the target by its name."""
    path = Path(where) if where else folder
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else where


def as_json(findings: list[Finding], targets: int) -> str:
    """Return the findings as a record."""
    body = {"schema": "foldline.verify/1", "targets": targets, "findings": [dataclasses.asdict(f) for f in findings]}
    return json.dumps(body, indent=1) + "\n"
