"""Read the atoms of an mmCIF or PDB file, told by content, plain or gzip, before they are sorted into residues."""

import collections
import dataclasses
import gzip
import io
import itertools
import re
import string
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

from models import residue_constants as rc
from pipeline.cif import Tables
from pipeline.errors import StructureError
from pipeline.modelcif import carried

_COORDINATES = ("ATOM  ", "HETATM")
_ATOM_RECORDS = (*_COORDINATES, "ANISOU")
_ATOM = re.compile(r"^(?:ATOM  |HETATM)", re.MULTILINE)
_MODEL = re.compile(r"^(?:MODEL |ENDMDL).*$", re.MULTILINE)
_NUMBER = re.compile(r"\s*([+-]?\d+)")
_CHAIN_NAMES = string.ascii_uppercase + string.ascii_lowercase + string.digits
_INTEGER = re.compile(r"-?\d+")
_LARGEST_NUMBER = 2**31 - 1  # of an int32, which `Protein.residue_index` is
_NO_OCCUPANCY = re.compile(r"^((?:ATOM  |HETATM).{48}) {6}", re.MULTILINE)

# Names that force fields and crystallographers use for the twenty, beside Biopython's table of modified residues.
_OTHER_NAMES = {
    **dict.fromkeys(("HID", "HIE", "HIP", "HSD", "HSE", "HSP"), "H"),
    **dict.fromkeys(("CYX", "CYM", "SEC"), "C"),
    **{"ASH": "D", "GLH": "E", "LYN": "K", "PYL": "K"},
}


class Atom(NamedTuple):
    """One atom as the file has it; the author's names."""

    chain: str
    number: str  # with insertion code
    label_seq: int | None
    residue: str
    name: str
    element: str
    position: tuple[float, float, float]
    b: float
    occupancy: float = 1.0


@dataclasses.dataclass
class Contents:
    """What a file holds, before it is sorted into residues."""

    atoms: list[Atom]
    notes: list[str]
    name: str = ""
    title: str = ""
    has_plddt: bool = False
    deposited: dict[str, str] = dataclasses.field(default_factory=dict)
    described: Tables = dataclasses.field(default_factory=dict)


def read_contents(path: Path) -> Contents:
    """Read the first model.

    Raises:
        StructureError: The file is missing, empty or damaged.
    """
    text = _read_text(path)
    if not text.strip():
        raise StructureError("expected an mmCIF or PDB file, found an empty one", str(path))
    return (_cif_contents if _is_cif(text) else _pdb_contents)(text, str(path))


def letter_of(residue: str) -> str:
    """Return the parent's letter of a residue name, X where it has none."""
    from Bio.Data.PDBData import protein_letters_3to1_extended  # noqa: PLC0415

    letter = _OTHER_NAMES.get(residue) or protein_letters_3to1_extended.get(residue, "X")
    return letter if letter in rc.RESTYPES else "X"


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


def _cif_contents(text: str, where: str) -> Contents:
    from Bio.PDB.MMCIF2Dict import MMCIF2Dict  # noqa: PLC0415

    try:
        table = MMCIF2Dict(io.StringIO(text))
    except (ValueError, IndexError, KeyError, ZeroDivisionError) as error:
        raise StructureError(f"expected mmCIF, found damaged syntax ({error})", where) from error
    columns = _CifColumns(table, where)
    model = columns["pdbx_PDB_model_num"]
    kept = [row for row, number in enumerate(model) if number == model[0]]
    metrics = table.get("_ma_qa_metric.type", table.get("_ma_qa_metric.name", []))
    return Contents(
        atoms=[columns.atom(row) for row in kept],
        notes=[] if len(kept) == len(model) else [f"only the first of {len(set(model))} models was read"],
        name=table.get("data_", ""),
        title=" ".join(word for word in table.get("_struct.title", [""])[0].split() if word != "?"),
        has_plddt=any("plddt" in metric.lower() for metric in metrics),
        deposited=_deposited(table, columns, kept),
        described=carried(table),
    )


def _deposited(table: Mapping[str, list[str]], columns: "_CifColumns", rows: Sequence[int]) -> dict[str, str]:
    """Return the sequence of the entity that each of the author's chains is made of; of alternatives, the first."""
    entity_of = dict(zip(table.get("_struct_asym.id", ()), table.get("_struct_asym.entity_id", ()), strict=False))
    names = ("entity_id", "num", "mon_id")
    residues = zip(*(table.get(f"_entity_poly_seq.{name}", ()) for name in names), strict=False)
    sequences: dict[str, dict[str, str]] = {}
    for entity, number, residue in residues:
        sequences.setdefault(entity, {}).setdefault(number, letter_of(residue))
    found: dict[str, str] = {}
    for row in rows:
        chain = columns["auth_asym_id"][row]
        if chain not in found and columns["label_seq_id"][row].isdecimal():
            letters = sequences.get(entity_of.get(columns["label_asym_id"][row], ""), {})
            found[chain] = "".join(letters.values()) if [*letters] == [str(k + 1) for k in range(len(letters))] else ""
    return {chain: sequence for chain, sequence in found.items() if sequence}


class _CifColumns:
    """The atom table of an mmCIF file by column; what is missing of a column is replaced by its stand-in."""

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
        "occupancy": "1",
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
        for name, other in self._STAND_INS.items():
            self._stand_in(name, self._columns.get(other, []))
        for name, stand_in in self._OPTIONAL.items():
            self._columns.setdefault(name, [stand_in] * max(lengths))

    def _stand_in(self, name: str, others: Sequence[str]) -> None:
        """Replace the unknown values of a column, or the whole column, by those of another, where there is one."""
        own = self._columns.get(name, others)
        if others:
            pairs = zip(own, others, strict=True)
            self._columns[name] = [other if value in "?." else value for value, other in pairs]

    def __getitem__(self, name: str) -> list[str]:
        if name not in self._columns:
            raise StructureError(f"the atom table has no column {name!r}", self._where)
        return self._columns[name]

    def atom(self, row: int) -> Atom:
        """Read one row."""
        insertion = self["pdbx_PDB_ins_code"][row]
        number = self["auth_seq_id"][row] + ("" if insertion in "?." else insertion)
        label_seq = self["label_seq_id"][row]
        self._check_numbers(row, number, label_seq)
        x, y, z = (self._float(f"Cartn_{axis}", row) for axis in "xyz")
        return Atom(
            chain=self["auth_asym_id"][row],
            number=number,
            label_seq=int(label_seq) if label_seq.isdecimal() else None,
            residue=self["auth_comp_id"][row],
            name=self["auth_atom_id"][row],
            element=self["type_symbol"][row],
            position=(x, y, z),
            b=self._known("B_iso_or_equiv", row, 0.0),
            occupancy=self._known("occupancy", row, 1.0),
        )

    def _check_numbers(self, row: int, *numbers: str) -> None:
        for number in numbers:
            if _INTEGER.fullmatch(number) and abs(float(number)) > _LARGEST_NUMBER:
                problem = f"expected residue numbers up to {_LARGEST_NUMBER}, found {number:.20} at atom {row + 1}"
                raise StructureError(problem, self._where)

    def _known(self, name: str, row: int, otherwise: float) -> float:
        return otherwise if self[name][row] in "?." else self._float(name, row)

    def _float(self, name: str, row: int) -> float:
        try:
            return float(self[name][row])
        except ValueError as error:
            raise StructureError(f"{name} of atom {row + 1} is no number: {self[name][row]!r}", self._where) from error


def _pdb_contents(text: str, where: str) -> Contents:
    from Bio.PDB.PDBExceptions import PDBConstructionException  # noqa: PLC0415
    from Bio.PDB.PDBParser import PDBParser  # noqa: PLC0415

    first, models = _first_model(text)
    first, named = _name_chains(first, where)
    try:
        file = io.StringIO(_residues_apart(_with_occupancies(first)))
        structure = PDBParser(PERMISSIVE=True, QUIET=True).get_structure("input", file)
    except IndexError as error:
        raise StructureError("expected PDB format, found a record that is cut off", where) from error
    except (PDBConstructionException, ValueError, KeyError, TypeError) as error:
        raise StructureError(f"expected PDB format, found damaged records ({error})", where) from error
    atoms = list(_biopython_atoms(structure))
    if not atoms:
        raise StructureError("expected an mmCIF or PDB file, found no atom records", where)
    notes = [f"only the first of {models} models was read"] if models > 1 else []
    notes += [f"atoms without a chain's name are read as chain {' and '.join(named)}"] if named else []
    return Contents(
        atoms=atoms,
        notes=notes + _left_out(first, atoms),
        name=structure.header.get("idcode", ""),
        title=" ".join(line[10:80].strip() for line in text.splitlines() if line.startswith("TITLE ")),
    )


def _first_model(text: str) -> tuple[str, int]:
    """Return the file up to the end of its first model with atoms, and how many models have any."""
    parts = _MODEL.split(text)
    models = [place for place, part in enumerate(parts) if _ATOM.search(part)]
    return "".join(parts[: models[0] + 1] if models else parts), len(models)


def _name_chains(text: str, where: str) -> tuple[str, list[str]]:
    """Name the chains that have no name, and return the file and the names.

    Raises:
        StructureError: There are more chains than names of one character.
    """
    lines = text.split("\n")
    used = {_place(line)[:1] for line in lines}
    free = [name for name in _CHAIN_NAMES if name not in used]
    chain_of = dict(_unnamed(lines))
    chains = 1 + max(chain_of.values(), default=-1)
    if chains > len(free):
        problem = f"expected at most {len(free)} chains without a name, found {chains}"
        raise StructureError(problem, where, "give the file as mmCIF")
    for index, chain in chain_of.items():
        lines[index] = f"{lines[index][:21]}{free[chain]}{lines[index][22:]}"
    return "\n".join(lines), free[:chains]


def _unnamed(lines: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Give the index of each atom in a chain without a name, and how many such chains were before.

    A new one begins where the numbers restart after TER; waters and ligands (HETATM) begin none.
    """
    chain, ended = 0, False
    last: tuple[int, str] | None = None
    for index, line in enumerate(lines):
        ended = ended or line.startswith("TER")
        if not _place(line)[:1].isspace():
            continue
        if line.startswith("ATOM  ") or letter_of(line[17:20].strip()) != "X":
            number = _number(line)
            chain += bool(ended and last and number <= last)
            last, ended = number, False
        yield index, chain


def _number(line: str) -> tuple[int, str]:
    """Return the residue number and the insertion code of an atom; 0 where there is no number."""
    digits = _NUMBER.match(line, 22, 26)
    return int(digits[1]) if digits else 0, line[26:27].strip()


def _left_out(text: str, atoms: Sequence[Atom]) -> list[str]:
    """Say how many atoms of the file Biopython has dropped, and of which residue for example."""
    lines = (line for line in text.split("\n") if line.startswith(_COORDINATES))
    given = collections.Counter((line[21:22], "".join(map(str, _number(line))), line[17:20].strip()) for line in lines)
    lost = given - collections.Counter((atom.chain, atom.number, atom.residue) for atom in atoms)
    if not lost:
        return []
    chain, number, residue = next(iter(lost))
    reason = "their place is taken, or they follow END or CONECT"
    return [f"atoms left out: {lost.total()}, for example of {chain}:{number} {residue} ({reason})"]


def _with_occupancies(text: str) -> str:
    """Fill blank occupancies, which Biopython cannot compare where there are alternate locations."""
    return _NO_OCCUPANCY.sub(rf"\g<1>{1:6.2f}", text)


def _residues_apart(text: str) -> str:
    """Put the atoms of alternate residues at one place after each other; where they alternate, Biopython drops them."""
    lines = text.split("\n")
    for place, run in itertools.groupby(range(len(lines)), lambda index: _place(lines[index])):
        indices = list(run) if place else []
        names = list(dict.fromkeys(lines[index][17:20] for index in indices))
        if len(names) > 1:
            apart = sorted((lines[index] for index in indices), key=lambda line: names.index(line[17:20]))
            lines[indices[0] : indices[-1] + 1] = apart
    return "\n".join(lines)


def _place(line: str) -> str:
    """Return chain, number and insertion code of an atom; nothing for other records."""
    return line[21:27] if line.startswith(_ATOM_RECORDS) else ""


def _biopython_atoms(structure: object) -> Iterator[Atom]:
    """Give the atoms of a Biopython structure in the order of the file; of alternates all, the first first."""
    for residue in structure.get_residues():  # type: ignore[attr-defined]
        _, number, insertion = residue.id
        for alternate in residue.disordered_get_list() if residue.is_disordered() == 2 else [residue]:
            for atom in alternate.get_unpacked_list():
                yield Atom(
                    chain=residue.get_parent().id,
                    number=f"{number}{insertion.strip()}",
                    label_seq=None,
                    residue=alternate.resname.strip(),
                    name=atom.name.strip(),
                    element=(atom.element or atom.name.strip()[:1]).strip(),
                    position=(float(atom.coord[0]), float(atom.coord[1]), float(atom.coord[2])),
                    b=float(atom.bfactor),
                    occupancy=1.0 if atom.occupancy is None else float(atom.occupancy),
                )
