"""Write a protein as mmCIF or PDB, complete or not at all."""

import io
import re
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from models import residue_constants as rc
from pipeline import records
from pipeline.cif import Tables, sequence_of, table, text_of
from pipeline.errors import StructureError
from pipeline.modelcif import LOCAL_PLDDT, MODELCIF, PDBX, TARGET_DATA, Description, described, described_software
from pipeline.protein import Protein
from pipeline.protein_atoms import Written, beside, split_number, written_atoms
from pipeline.structure_file import Atom

_LONGEST_GAP = 1000  # residues that a gap in the numbering may stand for
_LONGEST_NAME = 80  # characters of the data block
_WATERS = ("HOH", "DOD", "WAT")
_PDB_CHAINS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def write_mmcif(path: Path, protein: Protein, *, name: str, title: str = "", plddt: bool = True) -> None:
    """Write an mmCIF file.

    Args:
        path: Where to; replaced only when the file is complete.
        protein: The structure, hydrogens included where it has them.
        name: The target; becomes the data block's name.
        title: Any text, for example the FASTA header.
        plddt: Whether the B-factors are pLDDT, so that the tables of ModelCIF are written too.
    """
    from Bio.PDB.mmcifio import MMCIFIO  # noqa: PLC0415

    writer = MMCIFIO()
    writer.set_dict(_cif_tables(protein, name, title, plddt=plddt))
    text = io.StringIO()
    writer.save(text)
    records.write_text(path, text.getvalue())


def _cif_tables(protein: Protein, name: str, title: str, *, plddt: bool) -> dict[str, str | list[str]]:
    block = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:_LONGEST_NAME] or "structure"
    entities = _Entities(protein)
    dictionary, version = MODELCIF if plddt else PDBX
    tables: dict[str, str | list[str]] = {
        "data_": block,
        "_entry.id": block,
        "_audit_conform.dict_name": dictionary,
        "_audit_conform.dict_version": version,
        "_struct.entry_id": block,
        "_struct.title": text_of(title or name),
    }
    if plddt:
        tables |= _origin(protein, block) | entities.tables(text_of(name)) | entities.numbering() | entities.targets()
    else:
        tables |= described_software() | entities.tables(text_of(name))
    tables |= _atom_table(protein, entities)
    if plddt:
        tables |= _local_quality(protein, entities)
    tables = _with_others(tables, protein)
    return tables | table("_atom_type", {"symbol": sorted({*tables["_atom_site.type_symbol"]})})


def _origin(protein: Protein, block: str) -> Tables:
    """Return the tables of ModelCIF that hold neither atoms nor residues."""
    chain, mean = str(protein.chain_id[0]), float(protein.b_factor.mean())
    tables = dict(protein.described) or described(Description(chain, mean))
    files = tables.get("_ma_entry_associated_files.id", [])
    return tables | ({"_ma_entry_associated_files.entry_id": [block] * len(files)} if files else {})


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

    def tables(self, description: str) -> Tables:
        """Return the tables of entities, chains and components."""
        numbers = range(1, len(self.sequences) + 1)
        strands = [[str(self._protein.chain_id[c.start]) for c in chains] for chains in self.sequences.values()]
        lines = [sequence_of("".join(map(_code, s))) for s in self.sequences]
        letters = ["".join(rc.THREE_TO_ONE.get(name, "X") for name in s) for s in self.sequences]
        residues = [(e, k, name) for e, s in zip(numbers, self.sequences, strict=True) for k, name in enumerate(s, 1)]
        chains = [(strand, e) for e, members in zip(numbers, strands, strict=True) for strand in members]
        names = sorted({name for _, _, name in residues})
        kinds = ["PEPTIDE LINKING" if name == "GLY" else "L-PEPTIDE LINKING" for name in names]
        return (
            table("_chem_comp", {"id": names, "type": kinds})
            | table(
                "_entity",
                {
                    "id": numbers,
                    "type": ["polymer"] * len(numbers),
                    "src_method": ["man"] * len(numbers),
                    "pdbx_description": [description] * len(numbers),
                },
            )
            | table(
                "_entity_poly",
                {
                    "entity_id": numbers,
                    "type": ["polypeptide(L)"] * len(numbers),
                    "nstd_linkage": ["no"] * len(numbers),
                    "nstd_monomer": ["no"] * len(numbers),
                    "pdbx_strand_id": [",".join(members) for members in strands],
                    "pdbx_seq_one_letter_code": lines,
                    "pdbx_seq_one_letter_code_can": [sequence_of(s) for s in letters],
                },
            )
            | table(
                "_entity_poly_seq",
                {
                    "entity_id": [e for e, _, _ in residues],
                    "num": [k for _, k, _ in residues],
                    "mon_id": [name for _, _, name in residues],
                    "hetero": ["n"] * len(residues),
                },
            )
            | table("_struct_asym", {"id": [c for c, _ in chains], "entity_id": [e for _, e in chains]})
        )

    def numbering(self) -> Tables:
        """Return the table of the author's residue numbers; residues without atoms have none."""
        protein, rows = self._protein, []
        for entity, (names, chains) in enumerate(self.sequences.items(), 1):
            for chain in chains:
                numbers = {int(self.label_seq[i]): protein.author_number[i] for i in range(chain.start, chain.stop)}
                strand = str(protein.chain_id[chain.start])
                rows += [(strand, entity, k, name, *_author(numbers.get(k))) for k, name in enumerate(names, 1)]
        columns = ("asym_id", "entity_id", "seq_id", "mon_id", "pdb_seq_num", "auth_seq_num", "pdb_ins_code")
        made = table("_pdbx_poly_seq_scheme", dict(zip(columns, zip(*rows, strict=True), strict=True)))
        return made | {
            "_pdbx_poly_seq_scheme.pdb_mon_id": made["_pdbx_poly_seq_scheme.mon_id"],
            "_pdbx_poly_seq_scheme.pdb_strand_id": made["_pdbx_poly_seq_scheme.asym_id"],
        }

    def targets(self) -> Tables:
        """Return the tables that say which entities and chains are modelled."""
        numbers = range(1, len(self.sequences) + 1)
        return _targets(
            numbers,
            [
                (str(self._protein.chain_id[chain.start]), entity)
                for entity, members in zip(numbers, self.sequences.values(), strict=True)
                for chain in members
            ],
        )


def _targets(entities: Collection[object], chains: Collection[tuple[str, object]]) -> Tables:
    """Return the tables of what is modelled: entities, and chains with their entities."""
    # "designed" is what the dictionary has for a sequence that no reference database is named for
    n = len(entities)
    columns: dict[str, Collection[object]] = {"entity_id": entities, "data_id": [TARGET_DATA] * n}
    columns["origin"] = ["designed"] * n
    names, parents = [name for name, _ in chains], [entity for _, entity in chains]
    instances: dict[str, Collection[object]] = {"asym_id": names, "entity_id": parents}
    return table("_ma_target_entity", columns) | table("_ma_target_entity_instance", instances)


def _author(number: str | None) -> tuple[str, str, str]:
    """Return an author's number twice, as given and as counted on, and its insertion code."""
    if number is None:
        return "?", "?", "?"
    digits, insertion = split_number(number)
    return digits, digits, insertion or "?"


def _code(name: str) -> str:
    """Return a residue as `pdbx_seq_one_letter_code` writes it: unusual ones in brackets."""
    letter = rc.THREE_TO_ONE.get(name, "X")
    return f"({name})" if letter == "X" else letter


def _local_quality(protein: Protein, entities: _Entities) -> Tables:
    n = len(protein)
    return table(
        "_ma_qa_metric_local",
        {
            "ordinal_id": range(1, n + 1),
            "metric_id": [LOCAL_PLDDT] * n,
            "metric_value": [f"{value:.2f}" for value in protein.b_factor],
            "model_id": [1] * n,
            "label_asym_id": protein.chain_id,
            "label_seq_id": entities.label_seq,
            "label_comp_id": [protein.residue_name(i) for i in range(n)],
        },
    )


def _atom_table(protein: Protein, entities: _Entities) -> Tables:
    atoms = written_atoms(protein)
    residues = [atom.residue for atom in atoms]
    components = [protein.residue_name(i) for i in residues]
    chains = [protein.chain_id[i] for i in residues]
    numbers = [split_number(protein.author_number[i]) for i in residues]
    return table(
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


def _with_others(tables: dict[str, str | list[str]], protein: Protein) -> dict[str, str | list[str]]:
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
        table(
            "_chem_comp",
            {"id": new, "type": ["NON-POLYMER"] * len(new)} if (new := [k for k in kinds if k not in known]) else {},
        )
        | table(
            "_entity",
            {
                "id": entity.values(),
                "type": ["water" if kind in _WATERS else "non-polymer" for kind in kinds],
                "src_method": ["nat"] * len(kinds),
                "pdbx_description": [text_of(kind) for kind in kinds],
            },
        )
        | table("_struct_asym", {"id": places.values(), "entity_id": [entity[kind] for _, kind in places]})
        | _targets(entity.values(), [(place, entity[kind]) for (_, kind), place in places.items()])
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
) -> Tables:
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
    return table("_atom_site", columns)


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
    parts = textwrap.wrap(text_of(title), 60) if title.strip() else []
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
