"""A protein's structure: the record and its reader (mmCIF or PDB, told by content). `protein_writer` writes both."""

import dataclasses
import functools
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from models import residue_constants as rc
from pipeline.errors import StructureError

CA = rc.ATOM37_ID["CA"]

# Names that force fields and crystallographers use for the twenty, beside Biopython's table of modified residues.
_OTHER_NAMES = {
    **dict.fromkeys(("HID", "HIE", "HIP", "HSD", "HSE", "HSP"), "H"),
    **dict.fromkeys(("CYX", "CYM", "SEC"), "C"),
    **{"ASH": "D", "GLH": "E", "LYN": "K", "PYL": "K"},
}
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
    """One or more chains of amino acids, without ligands.

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
        return rc.RESNAMES[self.aatype[i]]

    def label(self, i: int) -> str:
        """Return how a message names residue `i`, for example "A:CYS17"."""
        return f"{self.chain_id[i]}:{self.residue_name(i)}{self.author_number[i]}"


class _Atom(NamedTuple):
    chain: str
    number: str  # with insertion code
    label_seq: int | None
    residue: str
    name: str
    element: str
    position: tuple[float, float, float]
    b: float


@dataclasses.dataclass
class _Contents:
    """What a file holds, before it is sorted into residues."""

    atoms: list[_Atom]
    notes: list[str]
    name: str = ""
    title: str = ""
    has_plddt: bool = False


def read_structure(path: Path) -> Protein:
    """Read the first model of an mmCIF or PDB file (gzip or not), told by content.

    The first of alternate locations is kept; modified residues become their parents; waters and ligands are left out.

    Raises:
        StructureError: The file is missing, empty, damaged, or holds no amino acid.
    """
    text = _read_text(path)
    if not text.strip():
        raise StructureError("expected an mmCIF or PDB file, found an empty one", str(path))
    return _to_protein((_cif_contents if _is_cif(text) else _pdb_contents)(text, str(path)), str(path))


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        return content.decode("utf-8-sig", errors="replace")
    except FileNotFoundError as error:
        raise StructureError("the structure file does not exist", str(path)) from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise StructureError(f"expected an mmCIF or PDB file: {reason.lower()}", str(path)) from error


def _is_cif(text: str) -> bool:
    lines = (line.strip() for line in io.StringIO(text))
    return next((line for line in lines if line and not line.startswith("#")), "").lower().startswith("data_")


def _cif_contents(text: str, where: str) -> _Contents:
    from Bio.PDB.MMCIF2Dict import MMCIF2Dict  # noqa: PLC0415

    try:
        table = MMCIF2Dict(io.StringIO(text))
    except (ValueError, IndexError, KeyError, ZeroDivisionError) as error:
        raise StructureError(f"expected mmCIF, found damaged syntax ({error})", where) from error
    columns = _CifColumns(table, where)
    model = columns["pdbx_PDB_model_num"]
    kept = [row for row, number in enumerate(model) if number == model[0]]
    metrics = table.get("_ma_qa_metric.type", table.get("_ma_qa_metric.name", []))
    return _Contents(
        atoms=[columns.atom(row) for row in kept],
        notes=[] if len(kept) == len(model) else [f"only the first of {len(set(model))} models was read"],
        name=table.get("data_", ""),
        title=" ".join(word for word in table.get("_struct.title", [""])[0].split() if word != "?"),
        has_plddt=any("plddt" in metric.lower() for metric in metrics),
    )


class _CifColumns:
    """The atom table of an mmCIF file by column; a column that is missing is replaced by its stand-in."""

    _STAND_INS: ClassVar = {
        "auth_asym_id": "label_asym_id",
        "auth_seq_id": "label_seq_id",
        "auth_comp_id": "label_comp_id",
        "auth_atom_id": "label_atom_id",
    }
    _OPTIONAL: ClassVar = {
        "pdbx_PDB_ins_code": "?",
        "B_iso_or_equiv": "0",
        "pdbx_PDB_model_num": "1",
        "label_seq_id": ".",
    }

    def __init__(self, table: dict[str, list[str]], where: str) -> None:
        prefix = "_atom_site."
        self._columns = {key[len(prefix) :]: column for key, column in table.items() if key.startswith(prefix)}
        self._where = where
        lengths = {len(column) for column in self._columns.values()}
        if not lengths or max(lengths) == 0:
            raise StructureError("expected coordinates, found an mmCIF file without atoms (_atom_site)", where)
        if len(lengths) > 1:
            raise StructureError(f"the atom table is cut off after row {min(lengths)}", where, "get the file again")
        self._rows = lengths.pop()

    def __getitem__(self, name: str) -> list[str]:
        if name in self._columns:
            return self._columns[name]
        if self._STAND_INS.get(name) in self._columns:
            return self._columns[self._STAND_INS[name]]
        if name in self._OPTIONAL:
            return [self._OPTIONAL[name]] * self._rows
        raise StructureError(f"the atom table has no column {name!r}", self._where)

    def atom(self, row: int) -> _Atom:
        """Read one row."""
        insertion = self["pdbx_PDB_ins_code"][row]
        label_seq = self["label_seq_id"][row]
        x, y, z = (self._float(f"Cartn_{axis}", row) for axis in "xyz")
        return _Atom(
            chain=self["auth_asym_id"][row],
            number=self["auth_seq_id"][row] + ("" if insertion in "?." else insertion),
            label_seq=int(label_seq) if label_seq.isdigit() else None,
            residue=self["auth_comp_id"][row],
            name=self["auth_atom_id"][row],
            element=self["type_symbol"][row],
            position=(x, y, z),
            b=self._float("B_iso_or_equiv", row) if self["B_iso_or_equiv"][row] not in "?." else 0.0,
        )

    def _float(self, name: str, row: int) -> float:
        try:
            return float(self[name][row])
        except ValueError as error:
            raise StructureError(f"{name} of atom {row + 1} is no number: {self[name][row]!r}", self._where) from error


def _pdb_contents(text: str, where: str) -> _Contents:
    from Bio.PDB.PDBExceptions import PDBConstructionException  # noqa: PLC0415
    from Bio.PDB.PDBParser import PDBParser  # noqa: PLC0415

    try:
        structure = PDBParser(PERMISSIVE=True, QUIET=True).get_structure("input", io.StringIO(text))
    except IndexError as error:
        raise StructureError("expected PDB format, found a record that is cut off", where) from error
    except (PDBConstructionException, ValueError, KeyError) as error:
        raise StructureError(f"expected PDB format, found damaged records ({error})", where) from error
    models = list(structure)
    if not models:
        raise StructureError("expected an mmCIF or PDB file, found no atom records", where)
    return _Contents(
        atoms=list(_biopython_atoms(models[0])),
        notes=[] if len(models) == 1 else [f"only the first of {len(models)} models was read"],
        name=structure.header.get("idcode", ""),
        title=" ".join(line[10:80].strip() for line in text.splitlines() if line.startswith("TITLE ")),
    )


def _biopython_atoms(model: object) -> Iterator[_Atom]:
    """Give the atoms of a Biopython model in the order of the file; of alternates all, the first first."""
    for residue in model.get_residues():  # type: ignore[attr-defined]
        _, number, insertion = residue.id
        for alternate in residue.disordered_get_list() if residue.is_disordered() == 2 else [residue]:
            for atom in alternate.get_unpacked_list():
                yield _Atom(
                    chain=residue.get_parent().id.strip() or "A",
                    number=f"{number}{insertion.strip()}",
                    label_seq=None,
                    residue=alternate.resname.strip(),
                    name=atom.name.strip(),
                    element=(atom.element or atom.name.strip()[:1]).strip(),
                    position=(float(atom.coord[0]), float(atom.coord[1]), float(atom.coord[2])),
                    b=float(atom.bfactor),
                )


def _letter(residue: str) -> str:
    """Return the parent's letter of a residue name, X where it has none."""
    from Bio.Data.PDBData import protein_letters_3to1_extended  # noqa: PLC0415

    letter = _OTHER_NAMES.get(residue) or protein_letters_3to1_extended.get(residue, "X")
    return letter if letter in rc.RESTYPES else "X"


def _to_protein(contents: _Contents, where: str) -> Protein:
    groups: dict[str, dict[str, list[_Atom]]] = {}
    for atom in contents.atoms:
        groups.setdefault(atom.chain, {}).setdefault(atom.number, []).append(atom)
    kept: list[_Residue] = []
    left_out: dict[str, int] = {}
    for chain in groups.values():
        for group in chain.values():
            residue = _Residue(group)
            if residue.is_amino_acid:
                kept.append(residue)
            else:
                left_out[residue.name] = left_out.get(residue.name, 0) + 1
    if not kept:
        raise StructureError("expected a protein, found no amino acid", where)
    if left_out:
        contents.notes.append("left out: " + ", ".join(f"{count} {name}" for name, count in sorted(left_out.items())))
    return _assemble(kept, contents)


class _Residue:
    """The atoms of one residue, sorted into atom37 and hydrogens."""

    def __init__(self, atoms: Sequence[_Atom]) -> None:
        first = atoms[0]
        self.first = first
        self.name = first.residue
        self.letter = _letter(first.residue)
        self.heavy: dict[str, _Atom] = {}
        self.hydrogens: dict[str, _Atom] = {}
        for atom in atoms:
            if atom.residue == first.residue:
                self._add(atom)

    @property
    def is_amino_acid(self) -> bool:
        return self.letter != "X" or {"N", "CA", "C"} <= set(self.heavy)

    def _add(self, atom: _Atom) -> None:
        name = atom.name
        if atom.element.upper() in ("H", "D"):
            self.hydrogens.setdefault(name, atom)
        elif atom.element.upper() == "SE" and self.letter in _SELENIUM:
            self.heavy.setdefault(_SELENIUM[self.letter], atom)
        else:
            self.heavy.setdefault(name, atom)

    def finish(self, place: str) -> list[str]:
        """Drop the atoms that the parent has not and say what was done to the residue at `place`."""
        if self.letter == "X":
            allowed = set(rc.ATOM37)
            changes = [] if self.name == "UNK" else [f"{place} {self.name} is read as an unknown residue"]
        else:
            parent = rc.ONE_TO_THREE[self.letter]
            allowed = {*rc.RESIDUE_ATOMS[self.letter], "OXT"}
            changes = [] if self.name == parent else [f"{place} {self.name} is read as {parent}"]
        extra = [name for name in self.heavy if name not in allowed]
        for name in extra:
            del self.heavy[name]
        return changes + ([f"{place} {self.name} lost {' '.join(extra)}"] if extra else [])


def _assemble(residues: Sequence[_Residue], contents: _Contents) -> Protein:
    n, notes = len(residues), contents.notes
    positions = np.zeros((n, 37, 3), np.float32)
    mask = np.zeros((n, 37), bool)
    hydrogens: list[tuple[int, _Atom]] = []
    for i, residue in enumerate(residues):
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
    )


def _hydrogens(found: Sequence[tuple[int, _Atom]]) -> Hydrogens | None:
    if not found:
        return None
    residue = np.array([i for i, _ in found], np.int32)
    return Hydrogens(residue, tuple(a.name for _, a in found), np.array([a.position for _, a in found], np.float32))


def _residue_index(residues: Sequence[_Residue]) -> np.ndarray:
    """Number each chain by the entity's sequence, else by the author, else, where neither rises, from 0."""
    index: list[int] = []
    for chain in dict.fromkeys(r.first.chain for r in residues):
        members = [r.first for r in residues if r.first.chain == chain]
        labels = [None if m.label_seq is None else m.label_seq - 1 for m in members]
        authors = [int(m.number) if re.fullmatch(r"-?\d+", m.number) else None for m in members]
        index += _rising(labels) or _rising(authors) or range(len(members))
    return np.array(index, np.int32)


def _rising(numbers: Sequence[int | None]) -> list[int]:
    """Return the numbers if all are known and each is larger than the one before, else none."""
    known = [number for number in numbers if number is not None]
    rises = len(known) == len(numbers) and all(a < b for a, b in itertools.pairwise(known))
    return known if rises else []
