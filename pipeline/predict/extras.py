"""The files of a prediction that are written on request: the structure as PDB, the aligned error as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.predict.settings import Settings
from pipeline.protein import Protein
from pipeline.protein_writer import write_pdb
from pipeline.records import write_text

PDB, PAE_JSON = "predicted.pdb", "pae.json"
EXTRAS = {"pdb": PDB, "pae_json": PAE_JSON}  # by the setting that asks for it


def wanted(settings: Settings, arrays: Mapping[str, np.ndarray]) -> list[str]:
    """Return the files that the settings ask for; without a predicted aligned error there is none of it."""
    names = [name for setting, name in EXTRAS.items() if getattr(settings, setting)]
    return [name for name in names if name != PAE_JSON or "pae" in arrays]


def write_extra(path: Path, protein: Protein, arrays: Mapping[str, np.ndarray], title: str) -> None:
    """Write one of the files.

    Args:
        path: Its name says which.
        protein: The prediction.
        arrays: Of confidence.npz.
        title: The FASTA header.
    """
    if path.name == PDB:
        write_pdb(path, protein, title=title)
    else:
        write_text(path, _pae_json(arrays["pae"], float(arrays["pae_step"])))


def _pae_json(pae: np.ndarray, step: float) -> str:
    """Return the predicted aligned error as the AlphaFold database gives it: whole angstroms, one row per residue."""
    rows = np.rint(pae * step).astype(int).tolist()
    body = [{"predicted_aligned_error": rows, "max_predicted_aligned_error": round(float(pae.max() * step), 2)}]
    return json.dumps(body, separators=(",", ":")) + "\n"
