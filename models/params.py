"""Parameter files: read, write, check. The only input and output of the network's room.

A file is a NumPy archive with one array per parameter under `scope//name`, as in the published AlphaFold 2 files, which
load unchanged; so does the layout of AlphaFold's later code, which fuses projections. Our own files hold one more
entry, `metadata`: a JSON object with format version, configuration, source, licence and the sha256 of the list of
training data. Arrays may be stored in half precision.
"""

import dataclasses
import functools
import json
import os
import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import haiku as hk
import jax
import numpy as np

from models import alphafold
from models.config import ModelConfig

FORMAT = "foldline.parameters/1"
METADATA = "metadata"
_LISTED = 3  # names that an error spells out
_DEFINING = ("evoformer", "structure", "heads")  # parts of the configuration that the parameters were trained for
_FUSED = re.compile(
    r"(.+/triangle_multiplication_(?:outgoing|incoming))/(projection|gate|left_norm_input|center_norm)//(.+)"
)
_RENAMED = {"left_norm_input": "layer_norm_input", "center_norm": "center_layer_norm"}
_UNREADABLE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


@dataclasses.dataclass(eq=False)
class ParameterFileError(ValueError):
    """A parameter file cannot be read or does not fit the network.

    Args:
        path: The file.
        problem: What is wrong with the file as such; empty where its arrays do not fit.
        missing: Names that the network needs and the file lacks.
        unexpected: Names that the file has and the network does not know.
        wrong_shape: Names with the expected and the found shape.
        wrong_config: Settings with the model's and the file's value.
    """

    path: Path
    problem: str = ""
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    wrong_shape: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = dataclasses.field(default_factory=dict)
    wrong_config: Mapping[str, tuple[Any, Any]] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        parts = [self.problem] if self.problem else []
        if self.missing:
            parts.append(f"{len(self.missing)} missing: {_listed(self.missing)}")
        if self.unexpected:
            parts.append(f"{len(self.unexpected)} unexpected: {_listed(self.unexpected)}")
        if self.wrong_shape:
            shapes = [f"{name} expected {a}, found {b}" for name, (a, b) in self.wrong_shape.items()]
            parts.append(f"{len(shapes)} of wrong shape: {_listed(shapes)}")
        if self.wrong_config:
            values = [f"{name} expected {a!r}, found {b!r}" for name, (a, b) in self.wrong_config.items()]
            parts.append(f"made for another configuration: {_listed(values)}")
        return f"{self.path}: {'; '.join(parts)}"


def load(path: str | Path, config: ModelConfig) -> hk.Params:
    """Read the parameters of a network as float32.

    Raises:
        ParameterFileError: The file is missing, damaged, of another format or made for another network.
    """
    path = Path(path)
    arrays, metadata = _read(path)
    arrays = separated(arrays)
    expected = shapes(config)
    found = {name: array.shape for name, array in arrays.items()}
    error = ParameterFileError(
        path,
        missing=tuple(sorted(expected.keys() - found.keys())),
        unexpected=tuple(sorted(found.keys() - expected.keys())),
        wrong_shape={n: (expected[n], found[n]) for n in sorted(expected) if n in found and expected[n] != found[n]},
        wrong_config=_differences(config, metadata.get("config", {})),
    )
    if error.missing or error.unexpected or error.wrong_shape or error.wrong_config:
        raise error
    return nested({name: array.astype(np.float32, copy=False) for name, array in arrays.items()})


def load_shared(path: str | Path, config: ModelConfig) -> hk.Params:
    """Read those parameters of a file, made for another network, that have the name and the shape of one of `config`'s.

    Raises:
        ParameterFileError: The file is missing, damaged or of another format, or nothing in it fits.
    """
    path, expected = Path(path), shapes(config)
    arrays = separated(_read(path)[0])
    shared = {name: array.astype(np.float32) for name, array in arrays.items() if expected.get(name) == array.shape}
    if not shared:
        raise ParameterFileError(path, f"expected parameters that {config.name} shares: none fits")
    return nested(shared)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return what a file of ours says about itself; empty for a published file.

    Raises:
        ParameterFileError: The file is missing, damaged or of another format.
    """
    return _read(Path(path))[1]


def save(
    path: str | Path, params: hk.Params, config: ModelConfig, metadata: Mapping[str, Any], *, half: bool = False
) -> None:
    """Write the parameters of a network; the file appears only when it is whole.

    Args:
        path: Where to.
        params: The parameters.
        config: The network that they belong to.
        metadata: Source, licence, sha256 of the training list and the like; must be JSON.
        half: Whether to store half precision.
    """
    path = Path(path)
    dtype = np.float16 if half else np.float32
    about = json.dumps({"format": FORMAT, "config": dataclasses.asdict(config), **metadata}, sort_keys=True)
    arrays = {name: np.asarray(array, dtype) for name, array in flat(params).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with unfinished.open("wb") as file:
            np.savez(file, **{METADATA: np.array(about)}, **arrays)  # type: ignore[arg-type]
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@functools.lru_cache(maxsize=4)
def shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter of a network, by `scope//name`."""
    batch = alphafold.example_batch(config, length=4)
    network = hk.transform(lambda batch: alphafold.predict(config, batch, 0))
    return {name: x.shape for name, x in flat(jax.eval_shape(network.init, jax.random.key(0), batch)).items()}


def widen(params: hk.Params, config: ModelConfig) -> hk.Params:
    """Add zeros where a network that runs several models (`config.shared_program`) has parameters that one lacks."""
    given = flat(params)
    zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes(config).items() if name not in given}
    return nested({**given, **zeros})


def flat(params: hk.Params) -> dict[str, Any]:
    """Return parameters by `scope//name`."""
    return {f"{scope}//{name}": array for scope, arrays in params.items() for name, array in arrays.items()}


def nested(arrays: Mapping[str, Any]) -> hk.Params:
    """Return parameters as Haiku holds them, from names `scope//name`."""
    params: dict[str, dict[str, Any]] = {}
    for key, array in arrays.items():
        scope, name = key.split("//")
        params.setdefault(scope, {})[name] = array
    return params


def separated(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return parameters with the projections of the triangle products separate, whichever of the two layouts they have.

    Source: the published monomer files hold `left_projection`, `right_projection`, `left_gate` and `right_gate`. From
    version 2.3 on AlphaFold's code can hold the left channels and then the right ones in one `projection` and one
    `gate`, and calls the two layer norms otherwise.
    """
    result: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        match = _FUSED.fullmatch(name)
        if not match or not array.ndim:
            result[name] = array
        elif match[2] in _RENAMED:
            result[f"{match[1]}/{_RENAMED[match[2]]}//{match[3]}"] = array
        else:
            half = array.shape[-1] // 2
            result[f"{match[1]}/left_{match[2]}//{match[3]}"] = array[..., :half]
            result[f"{match[1]}/right_{match[2]}//{match[3]}"] = array[..., half:]
    return result


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the metadata of a file."""
    if not path.is_file():
        raise ParameterFileError(path, "expected a parameter file: there is none")
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ParameterFileError(path, "expected a NumPy archive of parameters: it holds a single array")
        with archive:
            arrays = {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        if isinstance(error, ParameterFileError):
            raise
        raise ParameterFileError(path, f"expected a NumPy archive of parameters: {error}") from error
    text = arrays.pop(METADATA, None)
    for name, array in arrays.items():
        if name.count("//") != 1 or array.dtype.kind != "f":
            raise ParameterFileError(path, f"expected real arrays named scope//name: found {name!r}, {array.dtype}")
    return arrays, {} if text is None else _parsed(path, str(text))


def _parsed(path: Path, text: str) -> dict[str, Any]:
    """Return metadata from its JSON text."""
    try:
        metadata = json.loads(text)
    except json.JSONDecodeError as error:
        raise ParameterFileError(path, f"its metadata is no JSON: {error}") from error
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        found = metadata.get("format") if isinstance(metadata, dict) else None
        raise ParameterFileError(path, f"expected format {FORMAT!r}, found {found!r}")
    return metadata


def _differences(config: ModelConfig, stored: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the settings of the network proper that differ; settings that only one side knows do not count."""
    own = json.loads(json.dumps(dataclasses.asdict(config)))  # as it comes back: JSON has no tuples
    ours = _leaves({part: own[part] for part in _DEFINING})
    theirs = _leaves({part: stored[part] for part in _DEFINING if part in stored})
    common = (name for name in ours if name in theirs and not name.endswith("dropout"))
    return {name: (ours[name], theirs[name]) for name in common if ours[name] != theirs[name]}


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values of nested mappings by dotted name."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves |= _leaves(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return leaves


def _listed(items: tuple[str, ...] | list[str]) -> str:
    """Return the first few items as text."""
    more = f" and {len(items) - _LISTED} more" if len(items) > _LISTED else ""
    return ", ".join(items[:_LISTED]) + more
