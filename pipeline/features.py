"""The record between featurize and predict: AlphaFold 2's raw features of one target, before any sampling."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import RecordError, StageError
from pipeline.records import read_npz, write_npz

SCHEMA = "foldline.features/1"
_TEXT = ("name", "template_ids")
_FAILURE = "failure"
_LARGEST_ID = {"aatype": 20, "msa": 21, "template_aatype": 21}


@dataclasses.dataclass(frozen=True, eq=False)
class RawFeatures:
    """Raw features of one chain of n residues, s alignment rows and t templates.

    Args:
        name: The target's safe name.
        aatype: Residue types in the order ARNDCQEGHILKMFPSTWYV, X 20; shape (n,), int32.
        residue_index: The network's residue numbers, from 0; shape (n,), int32.
        msa: HHblits ids, alphabetical order, X 20, gap 21; shape (s, n), int8.
        deletion_matrix: Residues deleted before each position; shape (s, n), int16.
        template_aatype: As `aatype`, with 21 where nothing is aligned; shape (t, n), int8.
        template_positions: Atom37 positions in angstrom; shape (t, n, 37, 3), float32.
        template_mask: Whether an atom is known; shape (t, n, 37), bool.
        template_sum_probs: Aligned columns of each template; shape (t,), float32.
        template_ids: Entry and chain of each template.
    """

    name: str
    aatype: NDArray[np.int32]
    residue_index: NDArray[np.int32]
    msa: NDArray[np.int8]
    deletion_matrix: NDArray[np.int16]
    template_aatype: NDArray[np.int8]
    template_positions: NDArray[np.float32]
    template_mask: NDArray[np.bool_]
    template_sum_probs: NDArray[np.float32]
    template_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check()

    def arrays(self) -> dict[str, NDArray]:
        """Return the numeric arrays by name, as `models.inputs.make_inputs` reads them."""
        fields = (field.name for field in dataclasses.fields(self) if field.name not in _TEXT)
        return {name: getattr(self, name) for name in fields}

    def save(self, path: Path) -> None:
        """Write the record as npz."""
        text = {"name": np.array(self.name), "template_ids": np.array(self.template_ids, dtype=str)}
        write_npz(path, {**self.arrays(), **text}, SCHEMA)

    @classmethod
    def load(cls, path: Path) -> "RawFeatures":
        """Read the record.

        Raises:
            RecordError: The file is missing, damaged, of another version, or its arrays do not belong together.
            StageError: It says why there are no features.
        """
        arrays = read_npz(path, SCHEMA)
        if set(arrays) == {_FAILURE}:
            raise StageError(str(arrays[_FAILURE]))
        expected = {field.name for field in dataclasses.fields(cls)}
        if set(arrays) != expected:
            difference = ", ".join(sorted(set(arrays) ^ expected))
            raise RecordError(f"missing or unknown arrays: {difference}", str(path), "run featurize again")
        fields: dict[str, Any] = dict(arrays)
        fields |= {"name": str(arrays["name"]), "template_ids": tuple(map(str, arrays["template_ids"]))}
        try:
            return cls(**fields)
        except RecordError as error:
            raise RecordError(error.problem, str(path), "run featurize again") from error

    def _check(self) -> None:
        shapes = _expected_shapes(len(self.aatype), len(self.msa), len(self.template_ids))
        for name, (shape, dtype) in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != dtype:
                problem = f"expected {name} of shape {shape} and type {np.dtype(dtype)}"
                raise RecordError(f"{problem}, found {array.shape} and {array.dtype}", self.name)
        if not (len(self.aatype) and len(self.msa)):
            raise RecordError("the features hold no residues or no alignment rows", self.name)
        for name, largest in _LARGEST_ID.items():
            array = getattr(self, name)
            if array.size and not (array.min() >= 0 and array.max() <= largest):
                raise RecordError(f"{name} holds ids outside 0 to {largest}", self.name)


def write_failure(path: Path, reason: str) -> None:
    """Write why there are no features in their place, so that the other targets of a batch need not wait for them."""
    write_npz(path, {_FAILURE: np.array(reason)}, SCHEMA)


def _expected_shapes(n: int, s: int, t: int) -> dict[str, tuple[tuple[int, ...], type]]:
    return {
        "aatype": ((n,), np.int32),
        "residue_index": ((n,), np.int32),
        "msa": ((s, n), np.int8),
        "deletion_matrix": ((s, n), np.int16),
        "template_aatype": ((t, n), np.int8),
        "template_positions": ((t, n, 37, 3), np.float32),
        "template_mask": ((t, n, 37), np.bool_),
        "template_sum_probs": ((t,), np.float32),
    }
