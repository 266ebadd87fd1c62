"""Write a protein as mmCIF or PDB, complete or not at all."""

import io
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from models import residue_constants as rc
from pipeline import __version__, records
from pipeline.errors import StructureError
from pipeline.protein import Protein
from pipeline.protein_atoms import Written, beside, split_number, written_atoms
from pipeline.structure_file import Atom

_CIF_RESERVED = re.compile(r"(loop_|stop_|global_|data_|save_)\S*", re.IGNORECASE)
_LINE = 1000  # characters; CIF 1.1 allows 2,048 a line
_LONGEST_GAP = 1000  # residues that a gap in the numbering may stand for
_LONGEST_NAME = 80  # characters of the data block
_WATERS = ("HOH", "DOD", "WAT")
Tables = dict[str, str | list[str]]  # the columns of an mmCIF file, by category and name
_PDB_CHAINS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def write_mmcif(path: Path, protein: Protein, *, name: str, title: str = "", plddt: bool = True) -> None:
    """Write an mmCIF file.

    Args:
        path: Where to; replaced only when the file is complete.
        protein: The structure, hydrogens included where it has them.
        name: The target; becomes the data block's name.
        title: Any text, for example the FASTA header.
        plddt: Whether the B-factors are pLDDT, so that the ModelCIF tables of quality are written too.
    """
    from Bio.PDB.mmcifio import MMCIFIO  # noqa: PLC0415

    writer = MMCIFIO()
    writer.set_dict(_cif_tables(protein, name, title, plddt=plddt))
    text = io.StringIO()
    writer.save(text)
    records.write_text(path, text.getvalue())


def _cif_text(text: str) -> str:
    """Return a text that every CIF reader gives back: ASCII, one space between words, lines of a bearable length."""
    plain = " ".join(text.encode("ascii", "backslashreplace").decode().split())
    plain = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in plain)
    if not plain or plain in "?.":
        return "?"
    if _CIF_RESERVED.fullmatch(plain):
        return f"({plain})"
    return plain if len(plain) <= _LINE else "\n ".join(textwrap.wrap(plain, _LINE))


def _cif_tables(protein: Protein, name: str, title: str, *, plddt: bool) -> Tables:
    block = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:_LONGEST_NAME] or "structure"
    entities = _Entities(protein)
    tables: Tables = {
        "data_": block,
        "_entry.id": block,
        "_audit_conform.dict_name": ["mmcif_ma.dic" if plddt else "mmcif_pdbx.dic"],
        "_struct.entry_id": block,
        "_struct.title": _cif_text(title or name),
        "_struct.pdbx_model_details": "?",
    }
    tables |= _table("_software", _software())
    tables |= entities.tables(_cif_text(name))
    if plddt:
        tables |= _quality_tables(protein, entities)
    tables |= _atom_table(protein, entities)
    return _with_others(tables, protein)


def _table(category: str, columns: Mapping[str, Iterable[object]]) -> dict[str, list[str]]:
    return {f"{category}.{name}": [str(value) for value in column] for name, column in columns.items()}


def _software() -> dict[str, list[object]]:
    return {
        "pdbx_ordinal": [1],
        "name": ["Foldline"],
        "version": [__version__],
        "classification": ["model building"],
        "type": ["program"],
    }


class _Entities:
    """The chains of a protein by sequence; unknown residues without atoms fill the gaps in the numbering."""

    def __init__(self, protein: Protein) -> None:
        self._protein = protein
        self.label_seq = np.zeros(len(protein), np.int64)
        self.entity = np.zeros(len(protein), np.int64)
        self.sequences: dict[tuple[str, ...], list[slice]] = {}
        for chain in protein.chains:
            steps = np.diff(protein.residue_index[chain].astype(np.int64), prepend=protein.residue_index[chain][:1] - 1)
            places = np.cumsum(np.clip(steps, 1, _LONGEST_GAP))
            self.label_seq[chain] = places
            names = ["UNK"] * int(places[-1])
            for place, i in zip(places, range(chain.start, chain.stop), strict=True):
                names[place - 1] = protein.residue_name(i)
            sequence = tuple(names)
            self.sequences.setdefault(sequence, []).append(chain)
            self.entity[chain] = list(self.sequences).index(sequence) + 1

    def tables(self, description: str) -> dict[str, list[str]]:
        """Return the tables of entities, chains and components."""
        numbers = range(1, len(self.sequences) + 1)
        strands = [[str(self._protein.chain_id[c.start]) for c in chains] for chains in self.sequences.values()]
        lines = ["\n".join(textwrap.wrap("".join(map(_code, s)), 80)) for s in self.sequences]
        letters = ["".join(rc.THREE_TO_ONE.get(name, "X") for name in s) for s in self.sequences]
        residues = [(e, k, name) for e, s in zip(numbers, self.sequences, strict=True) for k, name in enumerate(s, 1)]
        chains = [(strand, e) for e, members in zip(numbers, strands, strict=True) for strand in members]
        names = sorted({name for _, _, name in residues})
        kinds = ["PEPTIDE LINKING" if name == "GLY" else "L-PEPTIDE LINKING" for name in names]
        return (
            _table("_chem_comp", {"id": names, "type": kinds})
            | _table(
                "_entity",
                {
                    "id": numbers,
                    "type": ["polymer"] * len(numbers),
                    "src_method": ["man"] * len(numbers),
                    "pdbx_description": [description] * len(numbers),
                },
            )
            | _table(
                "_entity_poly",
                {
                    "entity_id": numbers,
                    "type": ["polypeptide(L)"] * len(numbers),
                    "nstd_linkage": ["no"] * len(numbers),
                    "nstd_monomer": ["no"] * len(numbers),
                    "pdbx_strand_id": [",".join(members) for members in strands],
                    "pdbx_seq_one_letter_code": lines,
                    "pdbx_seq_one_letter_code_can": ["\n".join(textwrap.wrap(s, 80)) for s in letters],
                },
            )
            | _table(
                "_entity_poly_seq",
                {
                    "entity_id": [e for e, _, _ in residues],
                    "num": [k for _, k, _ in residues],
                    "mon_id": [name for _, _, name in residues],
                    "hetero": ["n"] * len(residues),
                },
            )
            | _table("_struct_asym", {"id": [c for c, _ in chains], "entity_id": [e for _, e in chains]})
        )


def _code(name: str) -> str:
    """Return a residue as `pdbx_seq_one_letter_code` writes it: unusual ones in brackets."""
    letter = rc.THREE_TO_ONE.get(name, "X")
    return f"({name})" if letter == "X" else letter


def _quality_tables(protein: Protein, entities: _Entities) -> dict[str, list[str]]:
    n = len(protein)
    return (
        _table("_ma_software_group", {"ordinal_id": [1], "group_id": [1], "software_id": [1]})
        | _table(
            "_ma_qa_metric",
            {
                "id": [1, 2],
                "name": ["pLDDT", "pLDDT"],
                "mode": ["global", "local"],
                "type": ["pLDDT", "pLDDT"],
                "software_group_id": [1, 1],
            },
        )
        | _table(
            "_ma_qa_metric_global",
            {
                "ordinal_id": [1],
                "metric_id": [1],
                "metric_value": [f"{protein.b_factor.mean():.2f}"],
                "model_id": [1],
            },
        )
        | _table(
            "_ma_qa_metric_local",
            {
                "ordinal_id": range(1, n + 1),
                "metric_id": [2] * n,
                "metric_value": [f"{value:.2f}" for value in protein.b_factor],
                "model_id": [1] * n,
                "label_asym_id": protein.chain_id,
                "label_seq_id": entities.label_seq,
                "label_comp_id": [protein.residue_name(i) for i in range(n)],
            },
        )
    )


def _atom_table(protein: Protein, entities: _Entities) -> dict[str, list[str]]:
    atoms = written_atoms(protein)
    residues = [atom.residue for atom in atoms]
    components = [protein.residue_name(i) for i in residues]
    chains = [protein.chain_id[i] for i in residues]
    numbers = [split_number(protein.author_number[i]) for i in residues]
    return _table(
        "_atom_site",
        {
            "group_PDB": ["ATOM"] * len(atoms),
            "id": range(1, len(atoms) + 1),
            "type_symbol": [atom.element for atom in atoms],
            "label_atom_id": [atom.name for atom in atoms],
            "label_alt_id": ["."] * len(atoms),
            "label_comp_id": components,
            "label_asym_id": chains,
            "label_entity_id": [entities.entity[i] for i in residues],
            "label_seq_id": [entities.label_seq[i] for i in residues],
            "pdbx_PDB_ins_code": [insertion or "?" for _, insertion in numbers],
            "Cartn_x": [f"{atom.position[0]:.3f}" for atom in atoms],
            "Cartn_y": [f"{atom.position[1]:.3f}" for atom in atoms],
            "Cartn_z": [f"{atom.position[2]:.3f}" for atom in atoms],
            "occupancy": ["1.00"] * len(atoms),
            "B_iso_or_equiv": [f"{protein.b_factor[i]:.2f}" for i in residues],
            "auth_seq_id": [number for number, _ in numbers],
            "auth_comp_id": components,
            "auth_asym_id": chains,
            "auth_atom_id": [atom.name for atom in atoms],
            "pdbx_PDB_model_num": ["1"] * len(atoms),
        },
    )


def _with_others(tables: Tables, protein: Protein) -> Tables:
    """Add ligands and waters: an entity for each kind, a chain for each kind beside each of the author's chains."""
    atoms = beside(protein)
    if not atoms:
        return tables
    kinds = list(dict.fromkeys(atom.residue for atom in atoms))
    first = len(tables["_entity.id"]) + 1
    entity = {kind: str(first + k) for k, kind in enumerate(kinds)}
    places = _free_chains(atoms, {str(chain) for chain in protein.chain_id})
    known = set(tables["_chem_comp.id"])
    more = (
        _table(
            "_chem_comp",
            {"id": new, "type": ["NON-POLYMER"] * len(new)} if (new := [k for k in kinds if k not in known]) else {},
        )
        | _table(
            "_entity",
            {
                "id": entity.values(),
                "type": ["water" if kind in _WATERS else "non-polymer" for kind in kinds],
                "src_method": ["nat"] * len(kinds),
                "pdbx_description": [_cif_text(kind) for kind in kinds],
            },
        )
        | _table("_struct_asym", {"id": places.values(), "entity_id": [entity[kind] for _, kind in places]})
        | _other_atoms(atoms, entity, places, len(tables["_atom_site.id"]))
    )
    return {key: [*value, *more.get(key, [])] if isinstance(value, list) else value for key, value in tables.items()}


def _free_chains(atoms: Sequence[Atom], taken: set[str]) -> dict[tuple[str, str], str]:
    """Return the name of a chain of its own for each kind beside each of the author's chains."""
    places: dict[tuple[str, str], str] = {}
    for atom in atoms:
        if (atom.chain, atom.residue) not in places:
            name = f"{atom.chain}_{atom.residue}"
            while name in taken:
                name += "_"
            taken.add(name)
            places[atom.chain, atom.residue] = name
    return places


def _other_atoms(
    atoms: Sequence[Atom], entity: Mapping[str, str], places: Mapping[tuple[str, str], str], before: int
) -> dict[str, list[str]]:
    numbers = [split_number(atom.number) for atom in atoms]
    columns: dict[str, Iterable[object]] = {
        "group_PDB": ["HETATM"] * len(atoms),
        "id": range(before + 1, before + 1 + len(atoms)),
        "type_symbol": [atom.element for atom in atoms],
        "label_atom_id": [atom.name for atom in atoms],
        "label_alt_id": ["."] * len(atoms),
        "label_comp_id": [atom.residue for atom in atoms],
        "label_asym_id": [places[atom.chain, atom.residue] for atom in atoms],
        "label_entity_id": [entity[atom.residue] for atom in atoms],
        "label_seq_id": ["."] * len(atoms),
        "pdbx_PDB_ins_code": [insertion or "?" for _, insertion in numbers],
        **{f"Cartn_{axis}": [f"{atom.position[k]:.3f}" for atom in atoms] for k, axis in enumerate("xyz")},
        "occupancy": [f"{atom.occupancy:.2f}" for atom in atoms],
        "B_iso_or_equiv": [f"{atom.b:.2f}" for atom in atoms],
        "auth_seq_id": [number for number, _ in numbers],
        "auth_comp_id": [atom.residue for atom in atoms],
        "auth_asym_id": [atom.chain for atom in atoms],
        "auth_atom_id": [atom.name for atom in atoms],
        "pdbx_PDB_model_num": ["1"] * len(atoms),
    }
    return _table("_atom_site", columns)


def write_pdb(path: Path, protein: Protein, *, title: str = "") -> None:
    """Write a PDB file (format 3.3); chains of longer names get one letter each, in order.

    Raises:
        StructureError: The structure is too large for the format's columns.
    """
    ligands = beside(protein)
    names = list(dict.fromkeys([*map(str, protein.chain_id), *(atom.chain for atom in ligands)]))
    letters = {name: name for name in names if len(name) == 1}
    free = (letter for letter in _PDB_CHAINS if letter not in names)
    for name in names:
        letters.setdefault(name, next(free, ""))
    atoms = written_atoms(protein)
    if "" in letters.values() or len(atoms) + len(ligands) + len(protein.chains) > 99_999:
        raise StructureError("the structure is too large for the PDB format", str(path), "use mmCIF")
    lines = _pdb_title(title)
    serial = 0
    for chain in protein.chains:
        for atom in (a for a in atoms if chain.start <= a.residue < chain.stop):
            serial += 1
            lines.append(_pdb_line(serial, atom, protein, letters))
        serial += 1
        number, insertion = split_number(protein.author_number[chain.stop - 1])
        letter = letters[str(protein.chain_id[chain.start])]
        lines.append(f"TER   {serial:5d}      {protein.residue_name(chain.stop - 1)} {letter}{number:>4}{insertion:1}")
    lines += [_pdb_other(serial + k, atom, letters[atom.chain]) for k, atom in enumerate(ligands, 1)]
    too_long = next((line for line in lines if len(line) > 80), None)
    if too_long:
        raise StructureError(f"a number does not fit the PDB format: {too_long.strip()!r}", str(path), "use mmCIF")
    records.write_text(path, "\n".join([*lines, "END", ""]))


def _pdb_title(title: str) -> list[str]:
    parts = textwrap.wrap(_cif_text(title), 60) if title.strip() else []
    return [f"TITLE   {'  ' if k == 1 else f'{k:2d}'}{part}" for k, part in enumerate(parts[:99], 1)]


def _pdb_line(serial: int, atom: Written, protein: Protein, letters: dict[str, str]) -> str:
    i = atom.residue
    number, insertion = split_number(protein.author_number[i])
    name = atom.name if len(atom.name) == 4 else f" {atom.name}"
    x, y, z = atom.position
    chain = letters[str(protein.chain_id[i])]
    return (
        f"ATOM  {serial:5d} {name:4} {protein.residue_name(i)} {chain}{number:>4}{insertion:1}   "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{1:6.2f}{protein.b_factor[i]:6.2f}          {atom.element:>2}  "
    )


def _pdb_other(serial: int, atom: Atom, chain: str) -> str:
    """Return the line of an atom that is not of the protein."""
    number, insertion = split_number(atom.number)
    name = atom.name if len(atom.name) == 4 or len(atom.element) == 2 else f" {atom.name}"
    x, y, z = atom.position
    return (
        f"HETATM{serial:5d} {name:4} {atom.residue:>3} {chain}{number:>4}{insertion:1}   "
        f"{x:8.3f}{y:8.3f}{z:8.3f}{atom.occupancy:6.2f}{atom.b:6.2f}          {atom.element:>2}  "
    )
