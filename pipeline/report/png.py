"""Write a small indexed PNG, for maps of residues against residues."""

import base64
import struct
import zlib
from collections.abc import Iterator

import numpy as np


def indexed_png(indices: np.ndarray, palette: np.ndarray) -> bytes:
    """Encode an image of palette indices.

    Args:
        indices: Shape (height, width), integers below 256.
        palette: Shape (colours, 3), 0-255.

    Source: PNG specification (ISO/IEC 15948), colour type 3, the filter of types 0 to 2 that gives the smallest file.
    """
    height, width = indices.shape
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", palette.astype(np.uint8).tobytes()),
            _chunk(b"IDAT", min((zlib.compress(rows, 9) for rows in _filtered(indices.astype(np.uint8))), key=len)),
            _chunk(b"IEND", b""),
        )
    )


def _filtered(indices: np.ndarray) -> Iterator[bytes]:
    """Give the rows as they are, as differences from the left and from above; each row starts with its filter type."""
    left = np.diff(indices, axis=1, prepend=np.uint8(0))
    above = np.diff(indices, axis=0, prepend=np.uint8(0))
    for kind, rows in enumerate((indices, left, above)):
        yield np.pad(rows, ((0, 0), (1, 0)), constant_values=kind).tobytes()


def data_uri(png: bytes) -> str:
    """Return the image as a URI that needs no file."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def gradient(anchors: tuple[str, ...], levels: int) -> np.ndarray:
    """Interpolate between colours such as `#0b3d2e`: shape (levels, 3), 0-255."""
    stops = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in anchors], np.float64)
    at = np.linspace(0, len(anchors) - 1, levels)
    return np.stack([np.interp(at, np.arange(len(anchors)), stops[:, c]) for c in range(3)], axis=1).round()


def block(side: int, limit: int) -> int:
    """Return how many values, along each axis, one pixel of a map stands for."""
    return max(1, -(-side // limit))


def shrink(values: np.ndarray, limit: int) -> np.ndarray:
    """Average blocks of a square map until its side is at most `limit`; missing values stay out of the averages."""
    factor = block(values.shape[0], limit)
    if factor <= 1:
        return values
    side = -(-values.shape[0] // factor)
    padded = np.full((side * factor, side * factor), np.nan, np.float64)
    padded[: values.shape[0], : values.shape[1]] = values
    blocks = padded.reshape(side, factor, side, factor)
    real = np.isfinite(blocks)
    count = real.sum(axis=(1, 3))
    return np.where(real, blocks, 0).sum(axis=(1, 3)) / np.where(count, count, np.nan)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
