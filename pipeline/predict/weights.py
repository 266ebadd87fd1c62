"""Find the parameter file of each chosen model. Nothing here depends on JAX."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import WeightsError
from pipeline.weights.records import locate


def weights_files(models: Sequence[str], given: Sequence[Path] = ()) -> dict[str, Path]:
    """Return the parameter file of each model.

    Args:
        models: Names of presets.
        given: One file for one model; files called `MODEL.npz` or `params_MODEL.npz`, or the folder that holds them;
            empty for the files that are installed.

    Raises:
        WeightsError: There is no file for a model.
    """
    absent = next((path for path in given if not path.exists()), None)
    if absent is not None:
        raise WeightsError("expected a parameter file or a folder of them: it does not exist", str(absent))
    if not given:
        return {model: locate(model) for model in models}
    if len(given) == len(models) == 1 and given[0].is_file():
        return {models[0]: given[0]}
    return {model: _among(model, given) for model in models}


def _among(model: str, given: Sequence[Path]) -> Path:
    names = (f"params_{model}.npz", f"{model}.npz")
    candidates = [path / name for path in given if path.is_dir() for name in names]
    candidates += [path for path in given if path.name in names]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        place = ", ".join(map(str, given)) if len(given) < 3 else f"{given[0]} and {len(given) - 1} more"
        raise WeightsError(f"expected parameters of {model}: there is no {' or '.join(names)}", place)
    return found
