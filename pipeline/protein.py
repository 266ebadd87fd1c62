"""A protein's structure: the record and its reader (mmCIF or PDB). `protein_writer` writes both."""

import dataclasses
import functools
import itertools
import math
import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from models import residue_constants as rc
from pipeline.errors import StructureError
from pipeline.structure_file import Atom, Contents, letter_of, read_contents

CA = rc.ATOM37_ID["CA"]
BROKEN_BOND = 2.5  # angstrom between C and N of neighbours above which nobody would draw a bond

_INSERTIONS = f" {string.ascii_uppercase}"  # codes in the order in which they count
_LARGEST = np.iinfo(np.int32).max
_SELENIUM = {"M": "SD", "C": "SG"}  # the sulphur that stands for selenium in the parent


@dataclasses.dataclass(frozen=True, eq=False)
class Hydrogens:
    """Atoms beyond atom37.

    Args:
        residue: Index of the residue that each belongs to, shape (h,).
        names: Their PDB names.
        positions: Angstrom, shape (h, 3).
    """

    residue: np.ndarray
    names: tuple[str, ...]
    positions: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Protein:
    """One or more chains of amino acids, and what the file has beside them.

    Args:
        aatype: Residue types in AlphaFold 2's order, 20 where unknown, shape (n,).
        atom37_positions: Angstrom, shape (n, 37, 3).
        atom37_mask: Where an atom is present, shape (n, 37).
        residue_index: Place in the sequence; a step of one inside a chain means a peptide bond, shape (n,).
        chain_id: The author's chain, shape (n,).
        author_number: The author's residue numbers with insertion codes, for example "17A".
        b_factor: pLDDT (0-100) of a prediction, shape (n,).
        hydrogens: The hydrogens, where there are any.
        notes: What the reader left out or renamed.
        name: The data block or entry that it was read from.
        title: The file's title, for example a FASTA header.
        has_plddt: Whether the file says that its B-factors are pLDDT.
        deposited: The whole sequence of a chain, by its name, where mmCIF gives it: `residue_index` counts in it.
        names: What the file calls unknown residues, by their index.
        others: Atoms that no amino acid has, as the file has them: ligands, waters, more of unknown residues.
        described: Where a prediction comes from: the tables of `modelcif`, by category and name.
    """

    aatype: np.ndarray
    atom37_positions: np.ndarray
    atom37_mask: np.ndarray
    residue_index: np.ndarray
    chain_id: np.ndarray
    author_number: tuple[str, ...]
    b_factor: np.ndarray
    hydrogens: Hydrogens | None = None
    notes: tuple[str, ...] = ()
    name: str = ""
    title: str = ""
    has_plddt: bool = False
    deposited: Mapping[str, str] = dataclasses.field(default_factory=dict)
    names: Mapping[int, str] = dataclasses.field(default_factory=dict)
    others: tuple[Atom, ...] = ()
    described: Mapping[str, list[str]] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.aatype)

    @functools.cached_property
    def sequence(self) -> str:
        """One letter for each residue of all chains, X where unknown."""
        return "".join(rc.RESTYPES_X[a] for a in self.aatype)

    @functools.cached_property
    def chains(self) -> tuple[slice, ...]:
        """The residues of each chain, in order."""
        starts = [0, *(np.flatnonzero(self.chain_id[1:] != self.chain_id[:-1]) + 1), len(self)]
        return tuple(slice(int(a), int(b)) for a, b in itertools.pairwise(starts))

    def residue_name(self, i: int) -> str:
        """Return the three-letter name of residue `i`."""
        return self.names.get(i, rc.RESNAMES[self.aatype[i]])

    def label(self, i: int) -> str:
        """Return how a message names residue `i`, for example "A:CYS17"."""
        return f"{self.chain_id[i]}:{self.residue_name(i)}{self.author_number[i]}"


def read_structure(path: Path) -> Protein:
    """Read the first model of an mmCIF or PDB file (gzip or not), told by content.

    Of alternate locations, and of alternate residues, the one of the highest occupancy is kept, of equal ones the
    first; modified residues become their parents; waters and ligands are beside the protein (`others`). A chain without
    a name gets one that is free, "A" if it is.

    Raises:
        StructureError: The file is missing, empty, damaged, or holds no amino acid.
    """
    return _to_protein(read_contents(path), str(path))


def _to_protein(contents: Contents, where: str) -> Protein:
    groups: dict[str, dict[tuple[str, int | None], list[Atom]]] = {}
    for atom in contents.atoms:
        place = atom.number, atom.label_seq
        groups.setdefault(atom.chain, {}).setdefault(place, []).append(atom)
    kept: list[_Residue] = []
    beside: dict[str, int] = {}
    others: list[Atom] = []
    for chain in groups.values():
        polymer = any(label_seq is not None for _, label_seq in chain)
        for residue in [residue for group in chain.values() for residue in _residues(group)]:
            if residue.is_amino_acid and not (polymer and residue.first.label_seq is None):
                kept.append(residue)
            else:
                beside[residue.name] = beside.get(residue.name, 0) + 1
                others += residue.all_atoms()
    if not kept:
        raise StructureError("expected a protein, found no amino acid", where)
    if beside:
        names = ", ".join(f"{count} {name}" for name, count in sorted(beside.items()))
        contents.notes.append(f"not part of the protein: {names}")
    return _assemble(kept, contents, others)


def _residues(atoms: Sequence[Atom]) -> list["_Residue"]:
    """Sort the atoms of one number: amino acids compete for the place, others stand beside them."""
    names = dict.fromkeys(atom.residue for atom in atoms)
    alone = [_Residue([atom for atom in atoms if atom.residue == name]) for name in names]
    if len(alone) == 1:
        return alone
    others = [residue for residue in alone if not residue.is_amino_acid]
    beside = {residue.name for residue in others}
    competing = [atom for atom in atoms if atom.residue not in beside]
    return [_Residue(competing), *others] if competing else others


class _Residue:
    """The atoms of one residue, sorted into atom37 and hydrogens."""

    def __init__(self, atoms: Sequence[Atom]) -> None:
        self.name = _likeliest(atoms)
        kept = [atom for atom in atoms if atom.residue == self.name]
        self.first = kept[0]
        self.letter = letter_of(self.name)
        self.heavy: dict[str, Atom] = {}
        self.hydrogens: dict[str, Atom] = {}
        self.alternates: dict[str, None] = {}
        self.instead = {atom.residue: None for atom in atoms if atom.residue != self.name}
        for atom in kept:
            self._add(atom)

    @property
    def is_amino_acid(self) -> bool:
        return self.letter != "X" or {"N", "CA", "C"} <= set(self.heavy)

    def _add(self, atom: Atom) -> None:
        name = atom.name
        atoms = self.hydrogens if atom.element.upper() in ("H", "D") else self.heavy
        if "SE" in (name, atom.element.upper()) and self.letter in _SELENIUM:
            name = _SELENIUM[self.letter]
        if name in atoms:
            self.alternates[name] = None
        if name not in atoms or atom.occupancy > atoms[name].occupancy:
            atoms[name] = atom

    def all_atoms(self) -> list[Atom]:
        """Return its atoms under the names of the file."""
        return [*self.heavy.values(), *self.hydrogens.values()]

    def extras(self) -> list[Atom]:
        """Take out of an unknown residue the atoms that have no place in atom37, and return them."""
        if self.letter != "X":
            return []
        return [self.heavy.pop(name) for name in [*self.heavy] if name not in rc.ATOM37_ID]

    def finish(self, place: str) -> list[str]:
        """Drop the atoms that the parent has not and say what was done to the residue at `place`."""
        if self.letter == "X":
            allowed = set(rc.ATOM37)  # its others were taken out
            changes = [] if self.name == "UNK" else [f"{place} {self.name} is read as an unknown residue"]
        else:
            parent = rc.ONE_TO_THREE[self.letter]
            allowed = {*rc.RESIDUE_ATOMS[self.letter], "OXT"}
            changes = [] if self.name == parent else [f"{place} {self.name} is read as {parent}"]
        extra = [name for name in self.heavy if name not in allowed]
        for name in extra:
            del self.heavy[name]
        changes += [f"{place} {self.name} lost {' '.join(extra)}"] if extra else []
        changes += (
            [f"{place} {self.name}: {' or '.join(self.instead)} in its place is left out"] if self.instead else []
        )
        heavy = [name for name in self.alternates if name in self.heavy]
        several = " ".join(heavy) or "hydrogens"
        return changes + (
            [f"{place} {self.name}: one of several places of {several} is read"] if self.alternates else []
        )


def _likeliest(atoms: Sequence[Atom]) -> str:
    """Return the name of the residue that stands at a place most often, where a file gives several."""
    occupancies: dict[str, float] = {}
    for atom in atoms:
        occupancies[atom.residue] = max(atom.occupancy, occupancies.get(atom.residue, 0.0))
    return max(occupancies, key=occupancies.__getitem__)


def _assemble(residues: Sequence[_Residue], contents: Contents, others: Sequence[Atom]) -> Protein:
    n, notes = len(residues), contents.notes
    positions = np.zeros((n, 37, 3), np.float32)
    mask = np.zeros((n, 37), bool)
    hydrogens: list[tuple[int, Atom]] = []
    for i, residue in enumerate(residues):
        others = [*others, *residue.extras()]
        notes += residue.finish(f"{residue.first.chain}:{residue.first.number}")
        for name, atom in residue.heavy.items():
            positions[i, rc.ATOM37_ID[name]] = atom.position
            mask[i, rc.ATOM37_ID[name]] = True
        hydrogens += [(i, atom) for atom in residue.hydrogens.values()]
    b = [residue.heavy["CA"].b if "CA" in residue.heavy else residue.first.b for residue in residues]
    return Protein(
        aatype=np.array([rc.RESTYPE_ID[r.letter] for r in residues], np.int32),
        atom37_positions=positions,
        atom37_mask=mask,
        residue_index=_residue_index(residues),
        chain_id=np.array([r.first.chain for r in residues]),
        author_number=tuple(r.first.number for r in residues),
        b_factor=np.array(b, np.float32),
        hydrogens=_hydrogens(hydrogens),
        notes=tuple(notes),
        name=contents.name,
        title=contents.title,
        has_plddt=contents.has_plddt,
        deposited=contents.deposited,
        names={i: r.name for i, r in enumerate(residues) if r.letter == "X" and r.name != "UNK"},
        others=tuple(others),
        described=contents.described,
    )


def _hydrogens(found: Sequence[tuple[int, Atom]]) -> Hydrogens | None:
    if not found:
        return None
    residue = np.array([i for i, _ in found], np.int32)
    return Hydrogens(residue, tuple(a.name for _, a in found), np.array([a.position for _, a in found], np.float32))


def _residue_index(residues: Sequence[_Residue]) -> np.ndarray:
    """Number each chain by the entity's sequence, else by the author's numbers, else from 0."""
    index: list[int] = []
    for chain in dict.fromkeys(r.first.chain for r in residues):
        members = [r for r in residues if r.first.chain == chain]
        labels = [None if r.first.label_seq is None else r.first.label_seq - 1 for r in members]
        index += _rising(labels) or _counted(members) or range(len(members))
    return np.array(index, np.int32)


def _rising(numbers: Sequence[int | None]) -> list[int]:
    """Return the numbers if all are known and each is larger than the one before, else none."""
    known = [number for number in numbers if number is not None]
    rises = len(known) == len(numbers) and all(a < b for a, b in itertools.pairwise(known))
    return known if rises else []


def _counted(residues: Sequence[_Residue]) -> list[int]:
    """Count along a chain as the author's numbers do; return nothing where one of them is no number.

    52, 52A, 52B and 53 are one step apart each. So are residues whose numbers fall, as between the parts of a fusion,
    and those that are bonded, as where a numbering scheme has places that this chain does not fill.
    """
    matches = [re.fullmatch(r"(-?\d{1,10})([A-Za-z]?)", residue.first.number) for residue in residues]
    places = [(int(match[1]), _INSERTIONS.index(match[2].upper() or " ")) for match in matches if match]
    if len(places) < len(residues):
        return []
    index = [places[0][0]]
    for (a, here), (b, there), ends in zip(places, places[1:], itertools.pairwise(residues), strict=False):
        step = b - a if b != a else there - here
        index.append(index[-1] + (1 if step < 1 or _bonded(*ends) else step))
    return index if max(-index[0], index[-1]) <= _LARGEST else []


def _bonded(residue: _Residue, following: _Residue) -> bool:
    """Return whether C and the next N are there, and so near that no residue can be missing between them."""
    c, n = residue.heavy.get("C"), following.heavy.get("N")
    return c is not None and n is not None and math.dist(c.position, n.position) <= BROKEN_BOND
