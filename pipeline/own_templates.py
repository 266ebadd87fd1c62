"""The user's own templates: how a config names them, and the chains of their files."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import residue_constants as rc
from pipeline.config import find
from pipeline.errors import ConfigError, StructureError
from pipeline.protein import Protein, read_structure
from pipeline.templates import TemplateChain

_N, _CA, _C, _CD, _NH1, _NH2 = (rc.ATOM37_ID[name] for name in ("N", "CA", "C", "CD", "NH1", "NH2"))
_LONGEST_BOND = 2.5  # angstrom; C to N of residues that are bonded, generously
_LONGEST_STEP = 4.5  # angstrom; CA to CA of residues that are bonded, generously
_FILES_KEPT = 16


@dataclasses.dataclass(frozen=True)
class OwnTemplate:
    """A file that the user gave as template.

    Args:
        path: mmCIF or PDB, plain or gzip, of any name.
        chain: The author's name of the chain; empty where the one that aligns best is meant.
        target: Name of the target that it is for; empty for all.
    """

    path: Path
    chain: str = ""
    target: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class OwnChain:
    """A chain of a file.

    Args:
        structure: Its sequence and atoms.
        breaks: Residues after which the chain is broken in space, so that the sequence may lack residues there.
    """

    structure: TemplateChain
    breaks: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class OwnFile:
    """What a file holds.

    Args:
        sha256: Of its bytes.
        chains: By the author's name.
        notes: What was left out or renamed.
    """

    sha256: str
    chains: dict[str, OwnChain]
    notes: tuple[str, ...]


def parse_own(texts: Iterable[str]) -> list[OwnTemplate]:
    """Read `FILE`, `FILE:CHAIN`, `TARGET=FILE` or `TARGET=FILE:CHAIN`; a folder stands for the files in it, by name.

    Raises:
        ConfigError: A file does not exist, or a folder is empty or has a chain named.
    """
    return [own for text in texts for own in _parse(text)]


def for_target(own: Iterable[OwnTemplate], target: str) -> list[OwnTemplate]:
    """Return the templates of a target: those for it alone, then those for all."""
    listed = list(own)
    return [one for one in listed if one.target == target] + [one for one in listed if not one.target]


def read_own(path: Path) -> OwnFile:
    """Read all chains of a file.

    Raises:
        StructureError: The file is missing, damaged, or holds no amino acid.
    """
    try:
        state = path.stat()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StructureError(f"cannot read the template ({reason})", str(path)) from error
    return _read(path, state.st_size, state.st_mtime_ns)


def chains_of(protein: Protein) -> dict[str, OwnChain]:
    """Return the chains of a protein: the whole deposited sequence where it is known and agrees, else what is seen."""
    return {str(protein.chain_id[part.start]): _chain(protein, part) for part in protein.chains}


def _parse(text: str) -> Iterator[OwnTemplate]:
    whole = _place("", text)
    target, separator, rest = text.partition("=")
    if not whole and separator:
        whole = _place(target.strip(), rest)
    if not whole:
        mend = "write FILE, FILE:CHAIN or TARGET=FILE:CHAIN in search.own_templates"
        raise ConfigError(f"the template {text!r} does not exist", mend=mend)
    if not whole.path.is_dir():
        yield whole
        return
    files = sorted(path for path in whole.path.iterdir() if path.is_file() and not path.name.startswith("."))
    if whole.chain or not files:
        problem = "a folder of templates has no chain" if whole.chain else "the folder of templates is empty"
        raise ConfigError(problem, str(whole.path))
    yield from (dataclasses.replace(whole, path=path) for path in files)


def _place(target: str, text: str) -> OwnTemplate | None:
    """Return the file that a text names, with or without a chain; None where there is none."""
    before, colon, chain = text.rpartition(":")
    for path, name in ((text, ""), (before if colon else "", chain)):
        if path and _found(path).exists():
            return OwnTemplate(_found(path), name, target)
    return None


def _found(text: str) -> Path:
    try:
        return find(str(Path(text).expanduser()))
    except RuntimeError:  # no home
        return Path(text)


@functools.lru_cache(_FILES_KEPT)
def _read(path: Path, size: int, modified: int) -> OwnFile:  # noqa: ARG001 - a file that changes is read again
    protein = read_structure(path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return OwnFile(sha256, chains_of(protein), protein.notes)


def _chain(protein: Protein, part: slice) -> OwnChain:
    positions = protein.atom37_positions[part].astype(np.float32)
    mask = protein.atom37_mask[part] & np.isfinite(positions).all(axis=-1)
    positions = np.where(mask[..., None], positions, np.float32(0))
    _name_arginine(positions, mask, protein.aatype[part] == rc.RESTYPE_ID["R"])
    sequence, places = protein.sequence[part], protein.residue_index[part]
    whole = protein.deposited.get(str(protein.chain_id[part.start]), "")
    if not _agrees(whole, sequence, places):
        return OwnChain(TemplateChain(sequence, positions, mask), _breaks(positions, mask))
    full = np.zeros((len(whole), *positions.shape[1:]), np.float32)
    known = np.zeros((len(whole), mask.shape[1]), bool)
    full[places], known[places] = positions, mask
    return OwnChain(TemplateChain(whole, full, known), ())


def _agrees(whole: str, sequence: str, places: NDArray[np.int32]) -> bool:
    """Say whether the residues that are seen stand in the whole sequence where their numbers say."""
    if not whole or places.min() < 0 or places.max() >= len(whole):
        return False
    return all(whole[place] == letter for place, letter in zip(places, sequence, strict=True))


def _breaks(positions: NDArray[np.float32], mask: NDArray[np.bool_]) -> tuple[int, ...]:
    """Return the residues that are not bonded to the next, by C and N, or by CA where one of these is not known."""
    bond = np.linalg.norm(positions[1:, _N] - positions[:-1, _C], axis=-1)
    step = np.linalg.norm(positions[1:, _CA] - positions[:-1, _CA], axis=-1)
    has_bond = mask[1:, _N] & mask[:-1, _C]
    has_step = mask[1:, _CA] & mask[:-1, _CA]
    broken = np.where(has_bond, bond > _LONGEST_BOND, ~has_step | (step > _LONGEST_STEP))
    return tuple(int(i) for i in np.flatnonzero(broken))


def _name_arginine(positions: NDArray[np.float32], mask: NDArray[np.bool_], arginine: NDArray[np.bool_]) -> None:
    """Exchange NH1 and NH2 where NH2 is the nearer one to CD, against the rule of their names."""
    to_nh1, to_nh2 = (np.linalg.norm(positions[:, atom] - positions[:, _CD], axis=-1) for atom in (_NH1, _NH2))
    wrong = np.flatnonzero(arginine & mask[:, [_CD, _NH1, _NH2]].all(axis=-1) & (to_nh1 > to_nh2))[:, None]
    positions[wrong, [_NH1, _NH2]] = positions[wrong, [_NH2, _NH1]]
