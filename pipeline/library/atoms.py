"""Code all atoms of a chain as small integers: positions on a grid of 0.01 A, each from the atom that it is bonded to.

Every coordinate is rounded once, so that no atom moves by more than `LARGEST_ERROR` and errors do not add up. CA is
coded from the CA before it; any other atom from its neighbour towards CA, or from the residue's first atom where that
neighbour is not known. Which atoms are known is coded as the difference from what the residue type lets expect.
"""

import zlib
from typing import NamedTuple

import numpy as np

from models.residue_constants import ATOM37, ATOM37_ID, RESIDUE_ATOMS, RESTYPE_ID, RESTYPES_X
from pipeline.library.store import Atoms

STEP = 0.01  # angstrom
LARGEST_ERROR = (
    STEP / 2 * 3**0.5 + 1e-4
)  # angstrom; the last term is the rounding of float32 at a few thousand angstrom
REACH = 1e6  # angstrom: positions beyond are damaged, and would not fit
NO_NUMBER = np.iinfo(np.int32).min
UNKNOWN = len(RESTYPES_X) - 1
# Neighbours towards CA, the first that is known; each atom comes after its neighbours.
_NEIGHBOURS = {
    **dict.fromkeys(("N", "C", "CB"), ("CA",)),
    **dict.fromkeys(("O", "OXT"), ("C",)),
    **dict.fromkeys(("CG", "CG1", "CG2", "OG", "OG1", "SG"), ("CB",)),
    **dict.fromkeys(("CD", "CD1", "CD2", "ND1", "ND2", "OD1", "OD2", "SD"), ("CG", "CG1")),
    **dict.fromkeys(("OE1", "OE2", "NE"), ("CD",)),
    **{"CE": ("CD", "SD"), "CE1": ("CD1", "ND1"), "CE2": ("CD2",), "CE3": ("CD2",), "NE1": ("CD1",)},
    **{"NE2": ("CD", "CD2"), "CZ": ("NE", "CE1"), "CZ2": ("CE2",), "CZ3": ("CE3",), "CH2": ("CZ2",), "NZ": ("CE",)},
    **dict.fromkeys(("NH1", "NH2", "OH"), ("CZ",)),
}
_ORDER = ["CA", *_NEIGHBOURS]
_PLACES = [ATOM37_ID[name] for name in _ORDER]
_EARLIER = [[_ORDER.index(other) for other in _NEIGHBOURS.get(name, ())] for name in _ORDER]


def _expected() -> np.ndarray:
    """Return which atoms each residue type lets expect, shape (21, 37)."""
    table = np.zeros((len(RESTYPES_X), len(ATOM37)), bool)
    for row, letter in enumerate(RESTYPES_X):
        names = RESIDUE_ATOMS[letter] or ("N", "CA", "C", "O", "CB")
        table[row, [ATOM37_ID[name] for name in names]] = True
    return table


EXPECTED = _expected()


class ChainAtoms(NamedTuple):
    """What is coded of a chain.

    Args:
        atoms: Its atoms.
        numbers: The author's residue numbers, NO_NUMBER where not known, shape (residues,), int32.
        insertions: Their insertion codes as ASCII, 32 where there is none, shape (residues,), uint8.
    """

    atoms: Atoms
    numbers: np.ndarray
    insertions: np.ndarray


def aatype_of(sequence: str) -> np.ndarray:
    """Return residue types, 20 where unknown, shape (residues,)."""
    return np.array([RESTYPE_ID.get(letter, UNKNOWN) for letter in sequence], np.int8).clip(max=UNKNOWN)


def pack(chain: ChainAtoms, aatype: np.ndarray) -> bytes:
    """Code a chain; what `unpack` gives back differs by the rounding of positions alone.

    Args:
        chain: Atoms within REACH of the origin, and numbers.
        aatype: Residue types, 20 where unknown, shape (residues,).
    """
    positions, mask = chain.atoms.positions[:, _PLACES], chain.atoms.mask[:, _PLACES]
    grid = np.rint(np.where(mask[..., None], positions, 0).astype(np.float64) / STEP).astype(np.int64)
    anchors = _anchors(grid, mask)
    steps = [(grid[:, k] - _origin(grid, mask, anchors, k))[mask[:, k]].T.ravel() for k in range(len(_ORDER))]
    parts = [
        np.packbits(chain.atoms.mask ^ EXPECTED[aatype]).tobytes(),
        _planes(np.diff(chain.numbers.astype(np.int64), prepend=0)),
        chain.insertions.astype(np.uint8).tobytes(),
        _planes(np.diff(anchors, axis=0, prepend=0).T.ravel()),
        _planes(np.concatenate(steps)),
    ]
    squeeze = zlib.compressobj(level=6, memLevel=9, strategy=zlib.Z_FILTERED)
    # A flush gives every part a Huffman table of its own.
    return b"".join([*(squeeze.compress(part) + squeeze.flush(zlib.Z_SYNC_FLUSH) for part in parts), squeeze.flush()])


def unpack(packed: bytes, aatype: np.ndarray) -> ChainAtoms:
    """Return the chain that was coded.

    Raises:
        ValueError: The bytes are damaged or belong to another sequence.
    """
    residues = len(aatype)
    try:
        rest = _Bytes(zlib.decompress(packed))
    except zlib.error as error:
        raise ValueError(str(error)) from error
    expected = EXPECTED[aatype]
    flipped = np.unpackbits(rest.take(-(-expected.size // 8)), count=expected.size)
    known = expected ^ flipped.reshape(expected.shape).astype(bool)
    numbers = np.cumsum(rest.integers(residues)).astype(np.int32)
    insertions = rest.take(residues)
    anchors = np.cumsum(rest.integers(3 * residues).reshape(3, -1).T, axis=0)
    positions = np.zeros((*known.shape, 3), np.float32)
    positions[:, _PLACES] = _walk(rest.integers(3 * int(known.sum())), anchors, known[:, _PLACES]) * STEP
    return ChainAtoms(Atoms(positions, known), numbers, insertions)


def _walk(steps: np.ndarray, anchors: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Put the steps of all known atoms together, shape (residues, 37, 3), on the grid, 0 where not known."""
    grid = np.zeros((*mask.shape, 3), np.int64)
    start = 0
    for k in range(len(_ORDER)):
        rows = mask[:, k]
        end = start + 3 * int(rows.sum())
        grid[rows, k] = _origin(grid, mask, anchors, k)[rows] + steps[start:end].reshape(3, -1).T
        start = end
    return grid


def _anchors(grid: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return CA of each residue, else its first known atom, else the anchor of the residue before, shape (n, 3)."""
    rows = np.arange(len(mask))
    known = mask.any(1)
    last = np.maximum.accumulate(np.where(known, rows, -1))
    first = grid[rows, mask.argmax(1)]
    return np.where((last >= 0)[:, None], first[np.maximum(last, 0)], 0)


def _origin(grid: np.ndarray, mask: np.ndarray, anchors: np.ndarray, k: int) -> np.ndarray:
    """Return from where atom `k` is coded in every residue, shape (residues, 3)."""
    origin = anchors
    for other in reversed(_EARLIER[k]):
        origin = np.where(mask[:, other, None], grid[:, other], origin)
    return origin


def _planes(values: np.ndarray) -> bytes:
    """Fold integers (0, -1, 1, -2 become 0, 1, 2, 3) and write their bytes plane by plane, the lowest first."""
    folded = ((values << 1) ^ (values >> 63)).astype(np.uint64)
    count = max(1, -(-int(folded.max(initial=0)).bit_length() // 8))
    return bytes([count]) + b"".join((folded >> np.uint64(8 * k)).astype(np.uint8).tobytes() for k in range(count))


class _Bytes:
    """Bytes that are read from the front."""

    def __init__(self, content: bytes) -> None:
        self._content, self._start = np.frombuffer(content, np.uint8), 0

    def take(self, count: int) -> np.ndarray:
        found = self._content[self._start : self._start + count]
        if len(found) != count:
            raise ValueError(f"expected {count} more bytes, found {len(found)}")
        self._start += count
        return found

    def integers(self, count: int) -> np.ndarray:
        """Read what `_planes` wrote, shape (count,), int64."""
        planes = int(self.take(1)[0])
        folded = np.zeros(count, np.uint64)
        for k in range(min(planes, 8)):
            folded |= self.take(count).astype(np.uint64) << np.uint64(8 * k)
        return (folded >> np.uint64(1)).astype(np.int64) ^ -(folded & np.uint64(1)).astype(np.int64)
