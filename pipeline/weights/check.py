"""Read a parameter file as the network does. This needs JAX, so that only the commands that check files import it."""

from pathlib import Path

from models.config import PRESETS
from models.params import ParameterFileError, load
from pipeline.errors import WeightsError


def check(path: Path, model: str, where: str) -> None:
    """Read a file as the parameters of a model: exactly its arrays, every one of its shape, with intact checksums.

    Args:
        path: The file.
        model: Name of a preset.
        where: What to call the file in an error.

    Raises:
        WeightsError: The file is damaged, or arrays are missing, unexpected or of another shape.
    """
    try:
        load(path, PRESETS[model])
    except ParameterFileError as error:
        problem = str(error).removeprefix(f"{error.path}: ")
        raise WeightsError(f"these are no parameters of {model}: {problem}", where) from error
