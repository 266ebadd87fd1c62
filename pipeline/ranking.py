"""The ranking of a target's predictions, where there are several: which folders they are in."""

from pathlib import Path

from pipeline.errors import RecordError
from pipeline.records import read_json

RANKING_SCHEMA = "foldline.ranking/1"


def ranked_folders(path: Path) -> list[str]:
    """Return the folder of each prediction below that of the target, the best one first.

    Args:
        path: `ranking.json`.

    Raises:
        RecordError: The file is missing or damaged.
    """
    try:
        return [str(entry["folder"]) for entry in read_json(path, RANKING_SCHEMA)["ranked"]]
    except (KeyError, TypeError) as error:
        raise RecordError("expected the folder of each prediction", str(path), "delete it, and run again") from error
