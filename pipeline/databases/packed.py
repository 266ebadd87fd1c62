"""Read files that may be packed by gzip or zstd, and never take a damaged end for the end."""

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import zstandard

from pipeline.errors import LibraryError

MAGIC = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
_BLOCK = 8192  # packed bytes that are unpacked at once: few, for a hostile file may grow 30,000-fold
_BUFFER = 1 << 20
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError)
"""What reading a packed file may raise where it is damaged."""


def packing(path: Path) -> str:
    """Return `gzip`, `zstd`, or nothing for a file that is not packed.

    Raises:
        LibraryError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            beginning = file.read(4)
    except OSError as error:
        raise LibraryError(f"cannot read the file ({(error.strerror or str(error)).lower()})", str(path)) from error
    return next((name for name, magic in MAGIC.items() if beginning.startswith(magic)), "")


@contextlib.contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading what it holds, unpacked; all frames and members of it, one after the other.

    Raises:
        LibraryError: The file cannot be read, is damaged or is cut short.
    """
    how = packing(path)
    try:
        with path.open("rb") as file:
            yield _stream(file, how)
    except DAMAGED as error:
        problem = f"the file is damaged or cut short ({str(error) or type(error).__name__})"
        raise LibraryError(problem, str(path), "put the whole file there") from error
    except OSError as error:
        raise LibraryError(f"cannot read the file ({(error.strerror or str(error)).lower()})", str(path)) from error


def _stream(file: BinaryIO, how: str) -> BinaryIO:
    if how == "gzip":
        return cast("BinaryIO", gzip.GzipFile(fileobj=file, mode="rb"))
    return io.BufferedReader(ZstdStream(file), _BUFFER) if how == "zstd" else file


class ZstdStream(io.RawIOBase):
    """The content of a zstd file, frame after frame.

    The reader of `zstandard` takes a file that was cut short for one that ends.

    Args:
        file: Packed bytes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._pending, self._ready = file, b"", memoryview(b"")
        self._frame: zstandard.ZstdDecompressionObj | None = None

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill a buffer.

        Raises:
            EOFError: The file ends within a frame.
            zstandard.ZstdError: It is damaged.
        """
        target = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while not self._ready:
            block = self._pending or self._file.read(_BLOCK)
            if not block:
                if self._frame is not None:
                    raise EOFError("it ends within a frame")
                return 0
            self._unpack(block)
        count = min(len(target), len(self._ready))
        target[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def _unpack(self, block: bytes) -> None:
        frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
        self._ready = memoryview(frame.decompress(block))
        self._pending = frame.unused_data if frame.eof else b""
        self._frame = None if frame.eof else frame
