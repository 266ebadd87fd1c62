"""Parameters of the published networks: which files there are, where they lie, and what is recorded of them.

No JAX here: the plan of a run asks where a model's file is. `foldline weights` itself is `pipeline/weights/command.py`.
"""

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from models.config import PRESETS
from pipeline.config import find
from pipeline.errors import RecordError, WeightsError
from pipeline.paths import expanded
from pipeline.records import read_json, write_json

RECORD, RECORD_SCHEMA = "weights.json", "foldline.weights/1"
LICENCE_FILE = "LICENSE"
_MODELS = tuple(f"model_{number}{ptm}" for ptm in ("", "_ptm") for number in range(1, 6))
_MULTIMER = tuple(f"params_model_{number}_multimer_v3.npz" for number in range(1, 6))
_BYTES = {"12": 373_069_562, "345": 371_712_506}  # of the published files: models with templates and without
_PTM_BYTES = {"12": 373_103_340, "345": 371_746_284}
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True)
class ParameterSet:
    """A published set of parameter files.

    Args:
        name: How commands call it, and the name of its folder.
        title: What it is.
        url: The archive (tar) of all files.
        archive_bytes: Size of the archive, bytes.
        archive_sha256: Its checksum; empty where it is not known.
        files: The files that are kept: size in bytes of each published one, by name.
        unused: Files of the archive that no network here reads.
        licence: Its short name.
        notice: Whose work it is and under which terms, as the licence asks to be shown.
        citation: What to cite.
    """

    name: str
    title: str
    url: str
    archive_bytes: int
    archive_sha256: str
    files: Mapping[str, int]
    unused: tuple[str, ...]
    licence: str
    notice: str
    citation: str

    @property
    def models(self) -> dict[str, str]:
        """Name of the file of each model."""
        return {name.removeprefix("params_").removesuffix(".npz"): name for name in self.files if name != LICENCE_FILE}

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return user_folder() / self.name


@dataclasses.dataclass(frozen=True)
class Entry:
    """What is recorded of a file when it is put into its place.

    Args:
        bytes: Its size.
        sha256: Its checksum.
        source: The archive's address, or the path that it was imported from.
        date: When, ISO 8601 with the offset from UTC.
        verified: When its checksum and its arrays were checked last.
        modified_ns: Time of its last change then, nanoseconds since 1970: a later change shows without reading it.
    """

    bytes: int
    sha256: str
    source: str
    date: str
    verified: str
    modified_ns: int


def _published_bytes(model: str) -> int:
    sizes = _PTM_BYTES if model.endswith("_ptm") else _BYTES
    return next(size for numbers, size in sizes.items() if model[6] in numbers)


# Sizes and the archive's checksum: as several independent users of the archive report them (the checksum for example as
# the `known_hash` of their downloads). The sizes are also those that the published names and shapes come to.
ALPHAFOLD2 = ParameterSet(
    name="alphafold2",
    title="AlphaFold 2, the ten monomer models of DeepMind (archive of 2022-12-06)",
    url="https://storage.googleapis.com/alphafold/alphafold_params_2022-12-06.tar",
    archive_bytes=5_587_968_000,
    archive_sha256="36d4b0220f3c735f3296d301152b738c9776d16981d054845a68a1370b26cfe3",
    files={LICENCE_FILE: 18_657, **{f"params_{model}.npz": _published_bytes(model) for model in _MODELS}},
    unused=_MULTIMER,
    licence="CC BY 4.0",
    notice="The AlphaFold parameters are (c) DeepMind Technologies Limited, made available under the terms of the"
    " Creative Commons Attribution 4.0 International licence: https://creativecommons.org/licenses/by/4.0/legalcode",
    citation="Jumper et al. 2021, Highly accurate protein structure prediction with AlphaFold, Nature 596, 583-589,"
    " https://doi.org/10.1038/s41586-021-03819-2",
)
SETS: dict[str, ParameterSet] = {ALPHAFOLD2.name: ALPHAFOLD2}


def user_folder() -> Path:
    """Return the folder of fetched and imported parameters.

    `$FOLDLINE_WEIGHTS`, else `$XDG_DATA_HOME/foldline/weights`, else `~/.local/share/foldline/weights`.

    Raises:
        ConfigError: `$FOLDLINE_WEIGHTS` names a home that is none.
        WeightsError: The user has no home.
    """
    if own := os.environ.get("FOLDLINE_WEIGHTS"):
        return expanded(own)
    data = Path(os.environ.get("XDG_DATA_HOME") or ".")
    if data.is_absolute():  # the standard says to ignore others
        return data / "foldline" / "weights"
    try:
        return Path.home() / ".local" / "share" / "foldline" / "weights"
    except RuntimeError as error:
        raise WeightsError("this user has no home folder for parameters", mend="set FOLDLINE_WEIGHTS") from error


def set_of(model: str) -> ParameterSet | None:
    """Return the published set that a model belongs to."""
    return next((published for published in SETS.values() if model in published.models), None)


def candidates(model: str) -> list[Path]:
    """Return where a model's parameters may lie, the first that exists being taken.

    `data/weights/MODEL.npz` in the working folder or the repository, then the folder of its set.
    """
    published = set_of(model)
    own = [published.folder / published.models[model]] if published else []
    return [find(f"data/weights/{model}.npz"), *own]


def locate(model: str) -> Path:
    """Return the file of a model's parameters.

    Raises:
        WeightsError: There is no such model, or its file is not here.
    """
    for path in candidates(model):
        if path.is_file():
            return path
    raise WeightsError(f"there are no weights of model {model!r}", str(candidates(model)[-1]), _mend(model))


def record_path(published: ParameterSet) -> Path:
    """Return where it is recorded what lies in a set's folder."""
    return published.folder / RECORD


def read_record(published: ParameterSet) -> dict[str, Entry]:
    """Return what is recorded of each file of a set; nothing where nothing was fetched or imported.

    Raises:
        WeightsError: The record is damaged.
    """
    path = record_path(published)
    if not path.exists():
        return {}
    mend = "delete it and run: foldline weights verify"
    try:
        files = read_json(path, RECORD_SCHEMA)["files"]
        return {str(name): Entry(**entry) for name, entry in files.items()}
    except RecordError as error:
        raise WeightsError(error.problem, error.where, mend) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise WeightsError("the record of the parameters is damaged", str(path), mend) from error


def write_record(published: ParameterSet, entries: Mapping[str, Entry]) -> None:
    """Write what lies in a set's folder."""
    files = {name: dataclasses.asdict(entries[name]) for name in published.files if name in entries}
    about = {"name": published.name, "licence": published.licence, "notice": published.notice}
    write_json(record_path(published), {**about, "citation": published.citation, "files": files}, RECORD_SCHEMA)


def sha256_of(path: Path) -> str:
    """Return the checksum of a file of any size."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _mend(model: str) -> str:
    published = set_of(model)
    if published:
        return f"run: foldline weights fetch {published.name} (or: foldline weights import {published.models[model]})"
    here = sorted(name for name in PRESETS if any(path.is_file() for path in candidates(name)))
    return f"models with weights: {', '.join(here) or 'none'}"
