"""What templates alone give: the best one's atoms copied, and ProMod3's model, for each target of a run.

    python -m training.homology --run results --library data/library --output DIR [--promod3 /usr/bin/python3]

Writes `DIR/copied/NAME.pdb` and `DIR/promod3/NAME.pdb` from the same hit and alignment as the network was shown first.
ProMod3 (Debian: python3-promod3) belongs to the system's Python, which is started for it. Run again, it builds only the
models whose alignment has changed, and removes those of templates that are no longer used.
"""

import argparse
import logging
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from models import residue_constants as rc
from pipeline.a3m import read_a3m
from pipeline.featurize.raw import aatype_of, template_arrays
from pipeline.library.store import TemplateLibrary
from pipeline.protein import Protein
from pipeline.protein_writer import write_pdb
from pipeline.records import write_text
from pipeline.templates import TemplateChain, TemplateHit, read_templates
from training.guard import guarded

log = logging.getLogger(__name__)

MINUTES = 5  # for one model of ProMod3
# Run by the system's Python: alignment (FASTA: target, template), template, model to write.
_SCRIPT = """
import sys
from ost import io
from promod3 import modelling
alignment = io.LoadAlignment(sys.argv[1])
alignment.AttachView(1, io.LoadPDB(sys.argv[2]).CreateFullView())
model = modelling.BuildFromRawModel(modelling.BuildRawModel(alignment))
io.SavePDB(model, sys.argv[3])
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the structures of all targets that have a template."""
    parser = argparse.ArgumentParser(
        prog="python -m training.homology", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--run", type=Path, required=True, help="output folder of foldline run")
    parser.add_argument("--library", type=Path, required=True, help="template library of that run")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--promod3", type=Path, help="Python that has ProMod3 (default: no such models)")
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO)
    library = TemplateLibrary.open(arguments.library)
    for folder in sorted((arguments.run / "targets").iterdir()):
        hits = read_templates(folder / "templates.json").kept
        copy, model = (arguments.output / method / f"{folder.name}.pdb" for method in ("copied", "promod3"))
        if not hits:  # an earlier search may have had some
            copy.unlink(missing_ok=True)
            model.unlink(missing_ok=True)
            continue
        query = read_a3m(folder / "msa.a3m").query
        chain = _chain(library, hits[0])
        _write(copy, copied(query, hits[0], chain))
        _promod3(arguments.promod3, model, query, hits[0], chain)
    return 0


def _chain(library: TemplateLibrary, hit: TemplateHit) -> TemplateChain:
    index = library.index(hit.id)
    atoms = library.atoms(index)
    return TemplateChain(library.sequence(index), atoms.positions, atoms.mask)


def copied(query: str, hit: TemplateHit, chain: TemplateChain) -> Protein:
    """Return the template's backbone under the target's residue types and numbers; the rest is missing."""
    _, positions, mask = template_arrays(hit, len(query), chain)
    return _protein(query, positions, mask & (np.arange(37) < rc.ATOM37_ID["O"] + 1))


def _protein(sequence: str, positions: np.ndarray, mask: np.ndarray) -> Protein:
    n = len(sequence)
    return Protein(
        aatype=aatype_of(sequence).astype(np.int64),
        atom37_positions=positions.astype(np.float32),
        atom37_mask=mask.astype(bool),
        b_factor=np.zeros(n, np.float32),
        residue_index=np.arange(n),
        chain_id=np.array(["A"] * n),
        author_number=tuple(str(i + 1) for i in range(n)),
    )


def _write(path: Path, protein: Protein) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_pdb(path, protein)


def _promod3(python: Path | None, output: Path, query: str, hit: TemplateHit, chain: TemplateChain) -> None:
    """Let ProMod3 build the target on the template; a failure is said and leaves no model.

    A model of the same alignment is kept. One of another is removed, also where there is no ProMod3.
    """
    there = np.asarray(chain.mask[:, [rc.ATOM37_ID[name] for name in ("N", "CA", "C")]].all(axis=1))
    aligned = [residue for _, residue in hit.pairs()]
    there[: aligned[0]] = there[aligned[-1] + 1 :] = False  # the alignment names every residue of the file
    text = alignment(query, hit, chain.sequence, there)
    fasta, template = (output.parent / "input" / f"{output.stem}{end}" for end in (".fasta", ".pdb"))
    if output.exists() and fasta.exists() and fasta.read_text(encoding="utf-8") == text:
        return
    output.unlink(missing_ok=True)
    if python is None:
        return
    _write(template, _protein(chain.sequence, chain.positions, chain.mask & there[:, None]))
    write_text(fasta, text)
    command = [str(word) for word in (python, "-c", _SCRIPT, fasta, template, output)]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60 * MINUTES)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        output.unlink(missing_ok=True)  # what was written of it
        log.warning("%s: no model of ProMod3: %s", output.stem, type(error).__name__)


def alignment(query: str, hit: TemplateHit, sequence: str, there: np.ndarray) -> str:
    """Return target and template as aligned FASTA; of the template what has coordinates, from the first pair on."""
    partner = dict(hit.pairs())
    rows: list[tuple[str, str]] = []
    last = min(partner.values()) - 1
    for i, letter in enumerate(query):
        j = partner.get(i)
        if j is None:
            rows.append((letter, "-"))
            continue
        rows += [("-", sequence[k]) for k in range(last + 1, j) if there[k]]
        rows.append((letter, sequence[j] if there[j] else "-"))
        last = j
    target, template = ("".join(column) for column in zip(*rows, strict=True))
    return f">target\n{target}\n>{hit.id}\n{template}\n"


if __name__ == "__main__":
    raise SystemExit(guarded(main))
