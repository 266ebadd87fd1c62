"""The protein chains of a structure that gemmi has read, with all residues that were deposited.

The sequence is the deposited one (SEQRES): residues that were not observed are there, without atoms. Of several models
the first is read; of alternate locations the one with the highest occupancy in its residue; of several residues at one
place (microheterogeneity) the same; modified residues become their parents.
"""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import gemmi
import numpy as np

from models.residue_constants import ATOM37, ATOM37_ID, RESIDUE_ATOMS, RESTYPE_ID, RESTYPES, RESTYPES_X
from pipeline.errors import StructureError
from pipeline.library.atoms import NO_NUMBER, REACH, UNKNOWN, ChainAtoms, aatype_of
from pipeline.library.store import Atoms
from pipeline.structure_file import letter_of

NO_INSERTION = ord(" ")
_CHAIN = re.compile(r"[A-Za-z0-9]{1,8}")
_NOT_KEPT, _SELENIUM = -1, -2
_PLACES = {**ATOM37_ID, "SE": _SELENIUM}
_SULPHUR = {RESTYPE_ID["M"]: ATOM37_ID["SD"], RESTYPE_ID["C"]: ATOM37_ID["SG"]}
_CD, _NH1, _NH2 = (ATOM37_ID[name] for name in ("CD", "NH1", "NH2"))


def _allowed() -> np.ndarray:
    """Return which atoms are kept of each residue type, shape (21, 37): of unknown residues all."""
    table = np.zeros((len(RESTYPES_X), len(ATOM37)), bool)
    for row, letter in enumerate(RESTYPES_X):
        table[row, [ATOM37_ID[name] for name in (*RESIDUE_ATOMS[letter], "OXT")]] = True
    table[UNKNOWN] = True
    return table


_ALLOWED = _allowed()


@dataclasses.dataclass(frozen=True, eq=False)
class Chain:
    """One protein chain.

    Args:
        name: The author's name of the chain, letters and digits; unique in its entry.
        sequence: Letters of all residues that were deposited.
        atoms: Positions and the author's numbers; residue i has the label number i + 1.
    """

    name: str
    sequence: str
    atoms: ChainAtoms

    @property
    def aatype(self) -> np.ndarray:
        """Residue types, 20 where unknown, shape (residues,)."""
        return aatype_of(self.sequence)


class _Residue(NamedTuple):
    """A residue of the atom table: place in the deposited sequence from 0, name, number and its atoms' rows."""

    place: int | None
    name: str
    number: int
    insertion: int
    first: int
    last: int


def protein_chains(block: gemmi.cif.Block, structure: gemmi.Structure, where: str) -> Iterator[Chain]:
    """Give the protein chains of a structure's first model.

    Args:
        block: The file that the structure was made of.
        structure: Its models; all but the first are removed.
        where: The file's name, for errors.

    Raises:
        StructureError: Residues or coordinates cannot be.
    """
    while len(structure) > 1:
        del structure[-1]
    entities = _proteins(structure)
    atoms, parents, numbers = _AtomTable(structure), _parents(block), _deposited_numbers(block)
    used: set[str] = set()
    for label, (author, residues) in _residues(structure, entities).items():
        letters, chosen = _sequence(residues, entities[label], parents, atoms, where)
        positions = atoms.of_chain(chosen, aatype_of(letters), where)
        name = _chain_name(author, label, used)
        used.add(name)
        yield Chain(name, letters, ChainAtoms(positions, *_numbers(len(letters), chosen, numbers.get(label, {}))))


def _proteins(structure: gemmi.Structure) -> dict[str, gemmi.Entity]:
    """Return the entity of each chain (by label) that is a protein."""
    if not any(entity.subchains for entity in structure.entities):
        structure.setup_entities()
    if any(not residue.label_seq for chain in structure[0] for residue in chain.get_polymer()):
        structure.assign_label_seq_id(False)
    return {
        label: entity
        for entity in structure.entities
        for label in entity.subchains
        if entity.entity_type == gemmi.EntityType.Polymer and _polymer_type(structure, entity, label).name == "PeptideL"
    }


def _polymer_type(structure: gemmi.Structure, entity: gemmi.Entity, label: str) -> gemmi.PolymerType:
    if entity.polymer_type != gemmi.PolymerType.Unknown:
        return entity.polymer_type
    return structure[0].get_subchain(label).check_polymer_type()


def _residues(
    structure: gemmi.Structure, entities: Mapping[str, gemmi.Entity]
) -> dict[str, tuple[str, list[_Residue]]]:
    """Return for each chain (by label) the author's name and its residues."""
    found: dict[str, tuple[str, list[_Residue]]] = {}
    start = 0
    for chain in structure[0]:
        for residue in chain:
            end = start + len(residue)
            if residue.subchain in entities:
                place = residue.label_seq - 1 if residue.label_seq else None
                number = NO_NUMBER if residue.seqid.num is None else residue.seqid.num
                row = _Residue(place, residue.name, number, ord(residue.seqid.icode), start, end)
                found.setdefault(residue.subchain, (chain.name, []))[1].append(row)
            start = end
    return found


def _sequence(
    residues: Sequence[_Residue], entity: gemmi.Entity, parents: Mapping[str, str], atoms: "_AtomTable", where: str
) -> tuple[str, list[_Residue]]:
    """Return the letters of the deposited sequence, and the residue that is taken at each place that was observed.

    Where a residue was observed it gives the letter, so that letters and atoms agree.
    """
    names = [gemmi.Entity.first_mon(names) for names in entity.full_sequence]
    if not names:  # no deposited sequence: what was observed, in the order of the file
        keys = list(dict.fromkeys((residue.number, residue.insertion) for residue in residues))
        places = {key: place for place, key in enumerate(keys)}
        residues = [r._replace(place=places[r.number, r.insertion]) for r in residues]
        names = ["UNK"] * len(keys)
    chosen: dict[int, _Residue] = {}
    for residue in residues:
        if residue.place is None:
            continue
        if not 0 <= residue.place < len(names):
            problem = f"residue {residue.place + 1} of a sequence of {len(names)}"
            raise StructureError(problem, where)
        other = chosen.get(residue.place)
        if other is None or atoms.occupancy(residue) > atoms.occupancy(other):
            chosen[residue.place] = residue
    for place, residue in chosen.items():
        names[place] = residue.name
    return "".join(_letter(name, parents) for name in names), list(chosen.values())


def _letter(name: str, parents: Mapping[str, str]) -> str:
    letter = letter_of(name)
    return letter if letter in RESTYPES else letter_of(parents.get(name, name))


def _parents(block: gemmi.cif.Block) -> dict[str, str]:
    """Return the parents of modified residues as the file names them."""
    table = block.find("_pdbx_struct_mod_residue.", ["label_comp_id", "parent_comp_id"])
    return {row.str(0): row.str(1) for row in table}


def _deposited_numbers(block: gemmi.cif.Block) -> dict[str, dict[int, tuple[int, int]]]:
    """Return for each chain (by label) the author's number and insertion code of each place, observed or not."""
    tags = ["asym_id", "seq_id", "pdb_seq_num", "?pdb_ins_code"]
    found: dict[str, dict[int, tuple[int, int]]] = {}
    for row in block.find("_pdbx_poly_seq_scheme.", tags):
        place, number = row.str(1), row.str(2)
        insertion = row.str(3)[:1] if row.has(3) else ""
        if place.isdecimal() and re.fullmatch(r"-?\d{1,9}", number, re.ASCII):
            code = ord(insertion) if insertion.isalnum() and insertion.isascii() else NO_INSERTION
            found.setdefault(row.str(0), {}).setdefault(int(place) - 1, (int(number), code))
    return found


def _numbers(
    length: int, observed: Sequence[_Residue], deposited: Mapping[int, tuple[int, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the author's numbers and insertion codes of a chain, those of the atom table where there are any."""
    numbers, insertions = np.full(length, NO_NUMBER, np.int32), np.full(length, NO_INSERTION, np.uint8)
    for place, pair in deposited.items():
        if place < length:
            numbers[place], insertions[place] = pair
    for residue in observed:
        numbers[residue.place], insertions[residue.place] = residue.number, residue.insertion
    return numbers, insertions


def _chain_name(author: str, label: str, used: set[str]) -> str:
    """Return a name that is safe in a file name and new in its entry: the author's, if possible."""
    candidates = [name for name in (author, label, f"{author}.{label}") if _CHAIN.fullmatch(name.replace(".", ""))]
    fresh = [name for name in candidates if name not in used]
    return fresh[0] if fresh else f"x{len(used) + 1}"


class _AtomTable:
    """The atoms of a model as arrays, in the order of its residues."""

    def __init__(self, structure: gemmi.Structure) -> None:
        flat = gemmi.FlatStructure(structure)
        flat.strings_as_numbers = False
        names, inverse = np.unique(np.asarray(flat.atom_names), return_inverse=True)
        places = [_PLACES.get(name.decode("ascii", "replace"), _NOT_KEPT) for name in names.tolist()]
        self._places = np.array(places, np.int64)[inverse.ravel()]
        self._positions, self._occupancies = np.array(flat.pos), np.array(flat.occ)
        self._alternates = np.array(flat.altlocs).astype(np.int64)

    def occupancy(self, residue: _Residue) -> float:
        """Return the mean occupancy of a residue's atoms, rounded."""
        values = self._occupancies[residue.first : residue.last]
        return round(float(values.mean()), 4) if len(values) else 0.0

    def of_chain(self, residues: Sequence[_Residue], aatype: np.ndarray, where: str) -> Atoms:
        """Return the atoms of a chain in atom37.

        Raises:
            StructureError: A coordinate is out of all bounds.
        """
        counts = [residue.last - residue.first for residue in residues]
        places = np.repeat([residue.place for residue in residues], counts).astype(np.int64)
        rows = np.concatenate([np.arange(0), *(np.arange(residue.first, residue.last) for residue in residues)])
        rows, places = self._by_preference(rows, places)
        atoms = self._places[rows]
        for letter, sulphur in _SULPHUR.items():
            atoms = np.where((atoms == _SELENIUM) & (aatype[places] == letter), sulphur, atoms)
        kept = (atoms >= 0) & _ALLOWED[aatype[places], atoms] & np.isfinite(self._positions[rows]).all(-1)
        rows, places, atoms = rows[kept], places[kept], atoms[kept]
        if np.abs(self._positions[rows]).max(initial=0) > REACH:
            raise StructureError(f"a coordinate is beyond {REACH:.0f} A", where)
        positions = np.zeros((len(aatype), len(ATOM37), 3), np.float32)
        mask = np.zeros((len(aatype), len(ATOM37)), bool)
        positions[places, atoms] = self._positions[rows]
        mask[places, atoms] = True
        return _named_arginines(Atoms(positions, mask), aatype)

    def _by_preference(self, rows: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sort so that of the same atom in several locations the preferred one is last: it is written last."""
        alternates = self._alternates[rows]
        _, group = np.unique(places * 256 + alternates, return_inverse=True)
        sums = np.bincount(group, self._occupancies[rows]) / np.maximum(np.bincount(group), 1)
        occupancies = np.where(alternates == 0, np.inf, sums.round(4)[group])
        order = np.lexsort((-np.arange(len(rows)), -alternates, occupancies))
        return rows[order], places[order]


def _named_arginines(atoms: Atoms, aatype: np.ndarray) -> Atoms:
    """Name the atom nearer to CD NH1 in each arginine, as AlphaFold 2 does."""
    positions, mask = atoms
    rows = np.flatnonzero((aatype == RESTYPE_ID["R"]) & mask[:, [_CD, _NH1, _NH2]].all(1))
    near, far = (np.linalg.norm(positions[rows, atom] - positions[rows, _CD], axis=-1) for atom in (_NH1, _NH2))
    rows = rows[near > far]
    positions[rows[:, None], [_NH1, _NH2]] = positions[rows[:, None], [_NH2, _NH1]]
    return atoms
