"""The chains that are trained on: those of ProMod3's StructureDB with their hits, and experimental all-atom chains."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models import residue_constants

Arrays = dict[str, np.ndarray]
Alignment = tuple[np.ndarray, np.ndarray]  # HHblits ids and deletions, each (rows, n)

_GAP = residue_constants.GAP  # the same id in both alphabets
_BOTH, _QUERY_ONLY, _TARGET_ONLY = 0, 1, 2  # kinds of runs in an alignment
_BACKBONE_ATOMS = ("N", "CA", "C", "O", "CB")
BACKBONE_ATOM37 = np.array([residue_constants.ATOM37_ID[name] for name in _BACKBONE_ATOMS])
LETTER_TO_AATYPE = np.full(256, residue_constants.UNKNOWN, np.int8)
LETTER_TO_AATYPE[[ord(letter) for letter in residue_constants.RESTYPES]] = np.arange(20)
_HELIX, _STRAND, _OTHER = range(3)
_LETTER_TO_STATE = np.full(256, _OTHER, np.int32)
_LETTER_TO_STATE[[ord(letter) for letter in "HGI"]] = _HELIX
_LETTER_TO_STATE[ord("E")] = _STRAND
LETTER_TO_HHBLITS = residue_constants.RESTYPE_TO_HHBLITS.astype(np.int8)[LETTER_TO_AATYPE]


@dataclasses.dataclass(frozen=True)
class Hits:
    """Hits of one chain in the set, best first; `cigar` holds kinds and lengths of the runs of each alignment."""

    target: np.ndarray
    identity: np.ndarray
    query_start: np.ndarray
    target_start: np.ndarray
    cigar: tuple[tuple[np.ndarray, np.ndarray], ...]


def template_map(length: int, hits: Hits, k: int) -> np.ndarray:
    """Return for each query residue the aligned residue of hit `k`, or -1; shape (length,)."""
    mapping = np.full(length, -1, np.int32)
    query, target = int(hits.query_start[k]), int(hits.target_start[k])
    for operation, run in zip(*hits.cigar[k], strict=True):
        if operation == _BOTH:
            mapping[query : query + run] = np.arange(target, target + run)
        query += run if operation in (_BOTH, _QUERY_ONLY) else 0
        target += run if operation in (_BOTH, _TARGET_ONLY) else 0
    return mapping


class StructureDB:
    """The dumped StructureDB (see `pipeline/library/structuredb.py`) with the hits of the set against itself."""

    def __init__(self, folder: Path, hits: Path, excluded: frozenset[str] = frozenset()) -> None:
        """Open the arrays, the large ones on disk. Excluded chains are neither trained on nor shown as templates."""

        def array(name: str) -> np.ndarray:
            return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

        self.ids = array("ids")
        self.offsets = np.asarray(array("offsets"))
        self.lengths = np.diff(self.offsets)
        self._sequence, self._backbone, self._profile = array("sequence"), array("backbone"), array("profile")
        self._dssp = array("dssp")
        self._hits: Arrays = dict(np.load(hits, allow_pickle=False))
        self.allowed = ~np.isin(self.ids, list(excluded))

    def __len__(self) -> int:
        return len(self.ids)

    def _span(self, index: int) -> slice:
        return slice(self.offsets[index], self.offsets[index + 1])

    def letters(self, index: int) -> np.ndarray:
        """Return the sequence as ASCII codes, shape (n,)."""
        return np.asarray(self._sequence[self._span(index)])

    def profile(self, index: int) -> np.ndarray:
        """Return the HHblits frequencies, shape (n, 20), letters in alphabetical order."""
        return np.asarray(self._profile[self._span(index)], np.float32)

    def states(self, index: int) -> np.ndarray:
        """Return the secondary structure as DSSP saw it: 0 helix, 1 strand, 2 neither, int32 (n,)."""
        return _LETTER_TO_STATE[self._dssp[self._span(index)]]

    def atom37(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return positions (n, 37, 3) in angstrom and mask (n, 37) of N, CA, C, O and CB."""
        backbone = self._backbone[self._span(index)]
        positions = np.zeros((len(backbone), 37, 3), np.float32)
        positions[:, BACKBONE_ATOM37] = backbone
        mask = np.zeros((len(backbone), 37), bool)
        mask[:, BACKBONE_ATOM37] = True
        mask[self.letters(index) == ord("G"), residue_constants.ATOM37_ID["CB"]] = False
        return positions * mask[..., None], mask

    def hits(self, index: int) -> Hits:
        """Return the hits of a chain among the allowed chains, best first."""
        h = self._hits
        rows = np.arange(h["query_offsets"][index], h["query_offsets"][index + 1])
        rows = rows[self.allowed[h["target"][rows]]]
        bounds = zip(h["cigar_offsets"][rows], h["cigar_offsets"][rows + 1], strict=True)
        runs = tuple((h["cigar_kind"][a:b], h["cigar_length"][a:b]) for a, b in bounds)
        names = ("target", "identity", "query_start", "target_start")
        return Hits(**{name: h[name][rows] for name in names}, cigar=runs)

    def hit_msa(self, index: int, picked: Sequence[int] | np.ndarray) -> Alignment:
        """Return the alignment of a chain with some of its hits, the chain first."""
        hits, query = self.hits(index), LETTER_TO_HHBLITS[self.letters(index)]
        msa = np.full((len(picked) + 1, len(query)), _GAP, np.int8)
        deletions = np.zeros(msa.shape, np.int16)
        msa[0] = query
        for row, k in enumerate(picked, start=1):
            mapping = template_map(len(query), hits, k)
            aligned = np.flatnonzero(mapping >= 0)
            msa[row, aligned] = LETTER_TO_HHBLITS[self.letters(int(hits.target[k]))[mapping[aligned]]]
            deletions[row, aligned[1:]] = np.diff(mapping[aligned]) - 1  # counted at the next aligned column
        return msa, deletions


class AllAtomChains:
    """Experimental chains with every heavy atom (one npz: packed masks, positions in 0.01 A)."""

    def __init__(self, path: Path) -> None:
        """Read and unpack the file."""
        with np.load(path, allow_pickle=False) as z:
            self.lengths = z["length"].astype(int)
            self._aatype, self._residue_index = z["aatype"], z["residue_index"]
            count = int(self.lengths.sum())
            self._mask = np.unpackbits(z["atom37_mask"], count=count * 37).astype(bool).reshape(count, 37)
            self._positions = z["atom37_positions"]
        self._offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        self._atom_offsets = np.concatenate([[0], np.cumsum(self._mask.sum(-1))])

    def __len__(self) -> int:
        return len(self.lengths)

    def letters(self) -> list[str]:
        """Return the sequences."""
        return ["".join(residue_constants.RESTYPES_X[a] for a in self.chain(i)["aatype"]) for i in range(len(self))]

    def chain(self, index: int) -> Arrays:
        """Return aatype, residue_index, positions (n, 37, 3) in angstrom and mask (n, 37) of one chain."""
        a, b = self._offsets[index], self._offsets[index + 1]
        mask = self._mask[a:b]
        positions = np.zeros((b - a, 37, 3), np.float32)
        positions[mask] = self._positions[self._atom_offsets[a] : self._atom_offsets[b]] / 100.0
        return {
            "aatype": self._aatype[a:b].astype(np.int32),
            "residue_index": self._residue_index[a:b].astype(np.int32),
            "positions": positions,
            "mask": mask,
        }
