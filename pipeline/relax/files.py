"""The files of a relaxation: what they are, what says that they belong together, and whether they are there."""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, RecordError
from pipeline.provenance import sha256, versions
from pipeline.ranking import ranked_folders
from pipeline.records import atomic, read_json, write_json
from pipeline.relax.settings import Settings

SCHEMA = "foldline.relax/1"
OF_THE_MACHINE = ("memory", "crash", "platform")  # failures that the next attempt need not meet
_DECIDING_SOFTWARE = ("foldline", "openmm", "pdbfixer")
_NOT_DECIDING = ("models", "isolate", "strict", "pdb")


@dataclasses.dataclass(frozen=True)
class Places:
    """The files of one relaxation: what is read, and the two that are written."""

    structure: Path
    output: Path
    report: Path

    @classmethod
    def of(cls, folder: Path) -> "Places":
        """Return the files of a prediction by their usual names."""
        return cls(folder / "predicted.cif", folder / "relaxed.cif", folder / "relax.json")

    def pdb(self, settings: Settings) -> Path | None:
        """Return the structure in PDB format, where the settings ask for it."""
        return self.output.with_suffix(".pdb") if settings.pdb else None

    def outputs(self, settings: Settings) -> list[Path]:
        """Return the structures that are written."""
        return [path for path in (self.output, self.pdb(settings)) if path]

    def forget(self) -> None:
        """Remove results, so that nothing old stands for a relaxation that fails."""
        for path in (self.report, self.output, self.output.with_suffix(".pdb")):
            path.unlink(missing_ok=True)

    def make_way(self) -> None:
        """Remove what an earlier relaxation left, before another begins: nothing old speaks for the new files.

        Where the user chose the names, a PDB file beside the output may be the user's own: the record says whether not.
        """
        if self == Places.of(self.report.parent):
            self.forget()
            return
        pdb = self.output.with_suffix(".pdb")
        with contextlib.suppress(RecordError):
            written = read_json(self.report, SCHEMA).get("files", {})
            if pdb.name in written and pdb.resolve() != self.structure.resolve():
                pdb.unlink(missing_ok=True)
        self.report.unlink(missing_ok=True)


def is_relaxed(places: Places, settings: Settings) -> bool:
    """Return whether a prediction is relaxed already: same structure, same settings, files as they were written."""
    try:
        record = read_json(places.report, SCHEMA)
        made_from, files = where_from(places.structure, places.outputs(settings)).values()
    except (RecordError, OSError):
        return False
    earlier = record.get("made_from", {})
    software = {name: made_from["software"][name] for name in _DECIDING_SOFTWARE}
    return (
        _deciding(dataclasses.asdict(settings)) == _deciding(record.get("settings", {}))
        and earlier.get("structure_sha256") == made_from["structure_sha256"]
        and software.items() <= earlier.get("software", {}).items()
        and files.items() <= record.get("files", {}).items()
        and record.get("failure") not in OF_THE_MACHINE
    )


def _deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a result depends on, as a record holds it."""
    values: dict[str, Any] = json.loads(json.dumps(settings))
    kept = {name: value for name, value in values.items() if name not in _NOT_DECIDING}
    return {**kept, "none": values.get("models") == "none"}


def where_from(structure: Path, files: Sequence[Path]) -> dict[str, Any]:
    """Return what says that the files belong together: checksums of what was read and written, versions."""
    made_from = {"structure_sha256": sha256(structure), "software": versions(("openmm", "pdbfixer", "numpy"))}
    return {"made_from": made_from, "files": {path.name: sha256(path) for path in files}}


def copy_relaxation(source: Places, places: Places, settings: Settings) -> None:
    """Give a prediction the relaxation of one that is the same file; the record comes last."""
    record, outputs = read_json(source.report, SCHEMA), places.outputs(settings)
    places.make_way()
    for done, output in zip(source.outputs(settings), outputs, strict=True):
        with atomic(output) as temporary:
            shutil.copyfile(done, temporary)
    write_json(places.report, {**record, "files": {path.name: sha256(path) for path in outputs}}, SCHEMA)


def say_which(best: Places, settings: Settings) -> None:
    """Let the record of the best prediction say which predictions are relaxed now, where it is of other settings."""
    record = read_json(best.report, SCHEMA)
    said = record.get("settings", {})
    if said.get("models") != settings.models:
        write_json(best.report, {**record, "settings": {**said, "models": settings.models}}, SCHEMA)


def other_models(ranking: Path, settings: Settings) -> list[Places]:
    """Return the files of a target's other predictions where all are relaxed; else remove what an earlier run left.

    Raises:
        RecordError: The ranking is damaged.
    """
    if not ranking.is_file():
        return []
    others = [Places.of(ranking.parent / folder) for folder in ranked_folders(ranking)]
    if settings.models == "all":
        return others
    for places in others:
        places.forget()
    return []


def refuse_one_file_for_two(*paths: Path | None) -> None:
    """Keep the input, and each output, from being overwritten by another output."""
    seen: set[Path] = set()
    for path in filter(None, paths):
        if path.resolve() in seen:
            raise ConfigError("this file would be written over", str(path), "give each file a name of its own")
        seen.add(path.resolve())
