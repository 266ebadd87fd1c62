"""mmCIF files with the tables of the PDB's own, made from real structures."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from models.residue_constants import ATOM37, ONE_TO_THREE
from pipeline.protein import read_structure

GOLDEN = Path(__file__).parents[1] / "golden"


@dataclasses.dataclass
class Residue:
    """A row of the deposited sequence; atoms are name, element, x, y, z, alternate, occupancy."""

    name: str
    number: str
    insertion: str = "?"
    atoms: list = dataclasses.field(default_factory=list)
    place: int = 0


@dataclasses.dataclass
class Polymer:
    label: str
    author: str
    residues: list
    kind: str = "polypeptide(L)"


@dataclasses.dataclass
class File:
    """What an mmCIF file says.

    Args:
        entry: The entry's name.
        polymers: Chains, each an entity of its own.
        dates: Of its revisions.
        method: How it was determined.
        resolution: Tag and value.
        models: How many there are; each further one is moved by 100 A.
        parents: Modified residues and their parents.
        sequence: Whether there is a deposited sequence.
    """

    entry: str
    polymers: list
    dates: tuple = ("2001-02-03", "2011-07-13")
    method: str = "'X-RAY DIFFRACTION'"
    resolution: tuple = ("_refine.ls_d_res_high", "1.95")
    models: int = 1
    parents: dict = dataclasses.field(default_factory=dict)
    sequence: bool = True

    def text(self):
        parts = [f"data_{self.entry}\n#\n_entry.id   {self.entry}\n#", self._dates(), self._entities()]
        if self.sequence:
            parts += [self._sequences(), self._scheme()]
        parts.append(f"_exptl.entry_id   {self.entry}\n_exptl.method     {self.method}\n#")
        if self.resolution:
            parts.append("{} {}\n#".format(*self.resolution))
        if self.parents:
            parts.append(
                loop("_pdbx_struct_mod_residue", "id label_comp_id parent_comp_id", enumerate_rows(self.parents))
            )
        return "\n".join([*parts, self._atoms()]) + "\n"

    def write(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text())
        return path

    def _dates(self):
        head = "ordinal data_content_type major_revision minor_revision revision_date"
        rows = [(i + 1, "'Structure model'", i + 1, 0, date) for i, date in enumerate(self.dates)]
        return loop("_pdbx_audit_revision_history", head, rows) if rows else "#"

    def _entities(self):
        entities = [(i + 1, "polymer") for i in range(len(self.polymers))] + [(len(self.polymers) + 1, "water")]
        kinds = [(i + 1, f"'{p.kind}'") for i, p in enumerate(self.polymers)]
        asym = [(p.label, i + 1) for i, p in enumerate(self.polymers)] + [("W", len(self.polymers) + 1)]
        parts = [loop("_entity", "id type", entities), loop("_struct_asym", "id entity_id", asym)]
        linked = {r.name: "L-peptide" if "peptide" in p.kind else "DNA" for p in self.polymers for r in p.residues}
        compounds = [(name, f"'{kind} linking'") for name, kind in linked.items()] + [("HOH", "non-polymer")]
        tables = [loop("_entity_poly", "entity_id type", kinds), loop("_chem_comp", "id type", compounds)]
        return "\n".join([*parts, *tables])

    def _sequences(self):
        rows = [
            (i + 1, place(k, r), r.name, "n") for i, p in enumerate(self.polymers) for k, r in enumerate(p.residues)
        ]
        return loop("_entity_poly_seq", "entity_id num mon_id hetero", rows)

    def _scheme(self):
        head = "asym_id entity_id seq_id mon_id pdb_seq_num auth_seq_num pdb_strand_id pdb_ins_code"
        rows = [
            (p.label, i + 1, place(k, r), r.name, r.number, r.number if r.atoms else "?", p.author, r.insertion)
            for i, p in enumerate(self.polymers)
            for k, r in enumerate(p.residues)
        ]
        return loop("_pdbx_poly_seq_scheme", head, [[word if word != "" else "." for word in row] for row in rows])

    def _atoms(self):
        head = "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id label_entity_id"
        head += " label_seq_id pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy B_iso_or_equiv auth_seq_id"
        head += " auth_comp_id auth_asym_id auth_atom_id pdbx_PDB_model_num"
        rows = [row for model in range(self.models) for row in self._model(model)]
        return loop("_atom_site", head, [(row[0], i + 1, *row[1:]) for i, row in enumerate(rows)])

    def _model(self, model):
        for i, polymer in enumerate(self.polymers):
            for k, residue in enumerate(polymer.residues):
                seq = place(k, residue) if self.sequence else k + 1
                ids = (residue.name, polymer.label, i + 1, seq, residue.insertion)
                for name, element, x, y, z, alternate, occupancy in residue.atoms:
                    xyz = [f"{value:.3f}" for value in (x + 100 * model, y, z)]
                    end = (residue.number, residue.name, polymer.author, name, model + 1)
                    yield ("ATOM", element, name, alternate, *ids, *xyz, occupancy, "20.0", *end)
        water = ("HOH", "W", len(self.polymers) + 1, ".", "?", "1.0", "2.0", "3.0", "1.0", "30.0")
        yield ("HETATM", "O", "O", ".", *water, "900", "HOH", "A", "O", model + 1)


def place(index, residue):
    return residue.place or index + 1


def enumerate_rows(mapping):
    return [(i + 1, *row) for i, row in enumerate(mapping.items())]


def loop(table, head, rows):
    tags = "\n".join(f"{table}.{name}" for name in head.split())
    return f"loop_\n{tags}\n" + "\n".join(" ".join(map(str, row)) for row in rows) + "\n#"


def residues_of(name, moved=0.0):
    """Return the residues of a golden structure, each observed whole."""
    protein = read_structure(GOLDEN / name)
    return [residue(protein, i, moved) for i in range(len(protein))]


def residue(protein, i, moved):
    atoms = []
    for k in np.flatnonzero(protein.atom37_mask[i]):
        x, y, z = (protein.atom37_positions[i, k] + moved).tolist()
        atoms.append((ATOM37[k], ATOM37[k][0], x, y, z, ".", "1.00"))
    return Residue(ONE_TO_THREE[protein.sequence[i]], protein.author_number[i], atoms=atoms)


class Mmcif:
    """What test modules cannot import."""

    Residue, Polymer, File = Residue, Polymer, File
    residues_of = staticmethod(residues_of)

    @staticmethod
    def trp_cage(entry="1L2Y", author="A", **facts):
        return File(entry, [Polymer("A", author, residues_of("1l2y_A.pdb"))], **facts)

    @staticmethod
    def bpti(entry="1BPI", author="A", moved=0.0, **facts):
        return File(entry, [Polymer("A", author, residues_of("1bpi_A.pdb", moved))], **facts)


@pytest.fixture(scope="session")
def mmcif():
    """Return the makers of mmCIF files."""
    return Mmcif
