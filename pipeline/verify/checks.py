"""Whether the files of a run are whole and belong together, by their checksums and schemas."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.batch_record import BATCH_SCHEMA, record_file
from pipeline.errors import FoldlineError, RecordError
from pipeline.fasta import read_target
from pipeline.plan import PLAN_SCHEMA
from pipeline.predict.records import CONFIDENCE_SCHEMA, RANKING, RANKING_SCHEMA, RECORD, RUNNING, STRUCTURE
from pipeline.provenance import FILE, sha256
from pipeline.provenance import SCHEMA as PROVENANCE_SCHEMA
from pipeline.records import read_json, read_npz
from pipeline.target import read_target_record

_RELAX = ("relax.json", "foldline.relax/1", "relaxed.cif")
_FEATURES = ("features.json", "foldline.featurize/1")
_ARRAYS = {"features.npz": "foldline.features/1", "confidence.npz": CONFIDENCE_SCHEMA}
_ALWAYS = ("target.fasta", "target.json", "msa.a3m", "templates.json", "search.json", "features.npz", "report.html")
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
    """

    folder: Path
    targets: tuple[str, ...]
    batch_of: Mapping[str, str]
    search_of: Mapping[str, str]

    def of(self, target: str) -> Path:
        """Return the folder of a target."""
        return self.folder / "targets" / target


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
    batches, searches = plan.get("batches", {}), plan.get("searches", {})
    unknown = next((name for name in names if not (name in batches and name in searches)), None)
    if unknown is not None:
        raise RecordError(f"the target {unknown!r} is not in the plan", str(folder / "plan.json"), "run it again")
    return Results(folder, tuple(names), batches, searches)


def check_run(results: Results) -> Iterator[Finding]:
    """Give what is missing or changed among the files of the run itself."""
    for name in _OF_THE_RUN:
        if not (results.folder / name).is_file():
            yield Finding("", name, "missing")


def check_target(results: Results, target: str) -> list[Finding]:
    """Return what is missing or changed among the files of a target; its failure, where it failed."""
    folder = results.of(target)
    try:
        failure = _failure(results, target)
        problems = [("", failure)] if failure else list(_problems(results, target, folder))
    except FoldlineError as error:
        problems = [(_below(folder, error.where), error.problem)]
    return [Finding(target, file, problem) for file, problem in dict.fromkeys(problems)]


def _failure(results: Results, target: str) -> str:
    """Return why a target failed; empty where it did not."""
    for path in (
        record_file(results.folder, "search", results.search_of[target]),
        record_file(results.folder, "predict", results.batch_of[target]),
    ):
        entry = _entry(path, target)
        if entry.get("status") == "failed":
            return f"failed: {entry.get('reason', '')}"
    return ""


def _problems(results: Results, target: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Give files and what is wrong with them."""
    if (folder / RUNNING).exists():
        yield RUNNING, "a prediction goes on, or was killed"
    yield from ((name, "missing") for name in _ALWAYS if not (folder / name).is_file())
    yield from _same_sequence(folder)
    for name, schema in _ARRAYS.items():
        if (folder / name).is_file():
            read_npz(folder / name, schema)
    yield from _search(results, target, folder)
    yield from _prediction(results, target, folder)
    yield from _relaxation(folder)
    yield from _other_relaxations(folder)


def _same_sequence(folder: Path) -> Iterator[tuple[str, str]]:
    fasta, record = folder / "target.fasta", folder / "target.json"
    if not (fasta.is_file() and record.is_file()):
        return
    if read_target(fasta).sequence != read_target_record(record).sequence:
        yield "target.fasta", "holds another sequence than target.json"


def _search(results: Results, target: str, folder: Path) -> Iterator[tuple[str, str]]:
    entry = _entry(record_file(results.folder, "search", results.search_of[target]), target)
    recorded = {"msa.a3m": entry.get("msa_sha256"), "templates.json": entry.get("templates_sha256")}
    yield from _changed(folder, recorded, "its search")
    name, schema = _FEATURES
    if (folder / name).is_file():
        yield from _changed(folder, read_json(folder / name, schema)["files"], name)


def _prediction(results: Results, target: str, folder: Path) -> Iterator[tuple[str, str]]:
    record = read_json(folder / RECORD, CONFIDENCE_SCHEMA)
    made_from = record["made_from"]
    yield from _changed(folder, record["files"], RECORD)
    yield from _changed(folder, {"features.npz": made_from.get("features_sha256")}, RECORD)
    provenance = read_json(folder / FILE, PROVENANCE_SCHEMA)
    yield from _changed(folder, provenance["inputs"], FILE)
    yield from _changed(folder, provenance["outputs"], FILE)
    if provenance["weights"].get(made_from.get("model")) != made_from.get("weights_sha256"):
        yield FILE, f"names other weights than {RECORD}"
    entry = _entry(record_file(results.folder, "predict", results.batch_of[target]), target)
    yield from _changed(folder, {STRUCTURE: entry.get("predicted_sha256")}, "the record of its batch")
    yield from _models(folder)


def _models(folder: Path) -> Iterator[tuple[str, str]]:
    """Give what is wrong with the predictions that are ranked."""
    if not (folder / RANKING).is_file():
        return
    for entry in read_json(folder / RANKING, RANKING_SCHEMA)["ranked"]:
        record = read_json(folder / entry["folder"] / RECORD, CONFIDENCE_SCHEMA)
        files = {f"{entry['folder']}/{name}": digest for name, digest in record["files"].items()}
        yield from _changed(folder, files, f"{entry['folder']}/{RECORD}")


def _relaxation(folder: Path) -> Iterator[tuple[str, str]]:
    name, schema, structure = _RELAX
    record = read_json(folder / name, schema)
    files = record.get("files")
    if files is None:
        yield name, "says nothing of its files: it is of an earlier version"
        return
    yield from _changed(folder, {structure: None, **files}, name)
    if (folder / STRUCTURE).is_file() and record["made_from"]["structure_sha256"] != sha256(folder / STRUCTURE):
        yield name, f"comes from another {STRUCTURE}"


def _other_relaxations(folder: Path) -> Iterator[tuple[str, str]]:
    """Give what is wrong with the relaxations of the predictions that are ranked, where all are relaxed."""
    settings = read_json(folder / _RELAX[0], _RELAX[1]).get("settings", {})
    if settings.get("models") != "all" or not (folder / RANKING).is_file():
        return
    for entry in read_json(folder / RANKING, RANKING_SCHEMA)["ranked"]:
        yield from ((f"{entry['folder']}/{name}", problem) for name, problem in _relaxation(folder / entry["folder"]))


def _changed(folder: Path, recorded: Mapping[str, str | None], where: str) -> Iterator[tuple[str, str]]:
    """Give the files that are missing, or not those that a record names."""
    for name, digest in recorded.items():
        if not (folder / name).is_file():
            yield name, "missing"
        elif digest and sha256(folder / name) != digest:
            yield name, f"is not the file that {where} names"


def _entry(path: Path, target: str) -> dict[str, Any]:
    """Return what a batch's record says of a target.

    Raises:
        RecordError: The record is missing or damaged, or does not name the target.
    """
    entries = read_json(path, BATCH_SCHEMA)["targets"]
    found = next((entry for entry in entries if entry["name"] == target), None)
    if found is None:
        raise RecordError("does not name the target", str(path))
    return found


def _below(folder: Path, where: str) -> str:
    """Return a place as it is shown: a file of the target by its name."""
    path = Path(where) if where else folder
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else where


def as_json(findings: list[Finding], targets: int) -> str:
    """Return the findings as a record."""
    body = {"schema": "foldline.verify/1", "targets": targets, "findings": [dataclasses.asdict(f) for f in findings]}
    return json.dumps(body, indent=1) + "\n"
