"""The 3D viewer of a page: its script as the page carries it, and the coordinates that it draws."""

import base64
import functools
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.protein import Protein
from pipeline.report import chain

VENDORED = Path(__file__).parent / "vendor" / "3dmol"
VERSION = "2.5.5"
FINEST = 0.01  # angstrom, of a coordinate
LARGEST = 32_000  # steps from the centre


@functools.cache
def script() -> str:
    """Return the text of the viewer's script, which a page allows by its hash."""
    return (VENDORED / "3Dmol-min.js").read_text(encoding="utf-8")


@functools.cache
def packed_script() -> str:
    """Return the script as a page carries it: gzip in base64."""
    return packed(script().encode())


@functools.cache
def licences() -> str:
    """Return the notices that have to go with the script."""
    return "\n\n".join((VENDORED / name).read_text(encoding="utf-8").strip() for name in ("LICENSE", "NOTICES"))


def packed(content: bytes) -> str:
    """Compress bytes for a page, without a time, so that equal content gives equal pages."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode("ascii")


def known_atoms(model: Protein) -> np.ndarray:
    """Return where an atom is present and its coordinates are numbers, shape (residues, 37)."""
    return model.atom37_mask.astype(bool) & np.isfinite(model.atom37_positions).all(axis=-1)


def coordinates(models: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> tuple[list[dict[str, Any]], str]:
    """Write models compactly, in the view in which the page's picture shows the first of them.

    Args:
        models: Name, atom37 positions (residues, 37, 3) in angstrom and mask (residues, 37) of each, in one frame.

    Returns:
        For each model its name, number of atoms and step in angstrom; and all of them packed: for each the mask as
        bits, and the atoms' coordinates in steps as differences from the atom before, first all x, then y, then z, as
        16-bit integers, first all low and then all high bytes.
    """
    if not models:
        return [], ""
    first, mask = models[0][1].astype(np.float64), models[0][2]
    view = chain.principal_view(first[mask[:, chain.CA], chain.CA])
    centre = first[mask].mean(axis=0)
    records, content = [], b""
    for name, positions, present in models:
        placed = (positions[present].astype(np.float64) - centre) @ view.T
        step = max(FINEST, float(np.abs(placed).max(initial=0.0)) / LARGEST)
        records.append({"name": name, "atoms": len(placed), "step": step})
        content += np.packbits(present).tobytes() + _planes(np.rint(placed / step).astype(np.int32))
    return records, packed(content)


def _planes(steps: np.ndarray) -> bytes:
    """Return coordinates, shape (atoms, 3), as bytes that compress well."""
    moves = np.diff(steps.T, axis=1, prepend=0).astype(np.uint16)  # differences wrap around, and back when summed
    return (moves & 0xFF).astype(np.uint8).tobytes() + (moves >> 8).astype(np.uint8).tobytes()
