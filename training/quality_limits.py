"""Where the limits of `pipeline/quality/ramachandran.py` and `rotamers.py` come from: print them, from the statistics.

    python -m training.quality_limits --dump work/structuredb --allatom work/allatom.npz --cctbx CCTBX/bin/python

Ramachandran: on every thirtieth chain of the StructureDB, the shares below which as many residues lie as MolProbity's
Top8000 maps leave out of the favoured and the allowed region (the package cctbx-base, in an environment of its own).
Rotamers: how many residues of chains at 1.8 angstrom or better lie below the limit. Without `--dump` and `--cctbx` they
are all that is printed.
"""

import argparse
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.quality import ramachandran, rotamers
from training.chain_sets import AllAtomChains
from training.guard import guarded
from training.quality_statistics import chain_torsions

EVERY, SHARP = 30, 1.8  # chains; angstrom
_FAVOURED = 0.02
_OUTLIER = (0.0005, 0.001, 0.001, 0.001, 0.001, 0.002)  # of each kind, in MolProbity's maps
_CCTBX = """
import sys
import mmtbx_validation_ramachandran_ext
maps = mmtbx_validation_ramachandran_ext.rama_eval()
kinds = (0, 5, 4, 1, 3, 2)
for line in sys.stdin:
    kind, phi, psi = line.split()
    print(maps.get_score(kinds[int(kind)], float(phi), float(psi)))
"""


def molprobity_scores(kind: np.ndarray, phi: np.ndarray, psi: np.ndarray, python: Path) -> np.ndarray:
    """Return the scores of MolProbity's maps, 0-1, shape (n,)."""
    rows = zip(kind.tolist(), phi.tolist(), psi.tolist(), strict=True)
    lines = "".join(f"{a} {b:.3f} {c:.3f}\n" for a, b, c in rows)
    done = subprocess.run([python, "-c", _CCTBX], input=lines, capture_output=True, text=True, check=True, env={})
    return np.array(done.stdout.split(), float)


def ramachandran_limits(dump: Path, python: Path) -> Iterator[str]:
    """Say, for each kind, the shares that leave out as many residues as MolProbity's maps."""
    kind, phi, psi = chain_torsions(dump, range(0, len(np.load(dump / "ids.npy", mmap_mode="r")), EVERY))
    ours, theirs = ramachandran.scores(kind, phi, psi), molprobity_scores(kind, phi, psi, python)
    for k, name in enumerate(ramachandran.KINDS):
        here = kind == k
        favoured, outlier = (
            np.quantile(ours[here], np.mean(theirs[here] < limit)) for limit in (_FAVOURED, _OUTLIER[k])
        )
        yield f"{name}: {here.sum()} residues, favoured from {favoured:.4f}, outlier below {outlier:.4f}"


def rotamer_share(allatom: Path) -> float:
    """Return the share of the side chains of sharp structures that count as outliers.

    Args:
        allatom: npz of all-atom chains, with the `resolution` of each in angstrom, nan where it is not known.
    """
    chains = AllAtomChains(allatom)
    with np.load(allatom, allow_pickle=False) as arrays:
        sharp = np.flatnonzero(arrays["resolution"] <= SHARP)
    parts = [chains.chain(int(index)) for index in sharp]
    aatype, positions, mask = (
        np.concatenate([part[name] for part in parts]) for name in ("aatype", "positions", "mask")
    )
    score = rotamers.scores(aatype, rotamers.chi_angles(aatype, positions, mask))
    return float(np.mean(score[np.isfinite(score)] < rotamers.OUTLIER_SHARE))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dump", type=Path, help="folder of the StructureDB's dump")
    parser.add_argument("--cctbx", type=Path, help="Python of an environment with cctbx-base")
    parser.add_argument("--allatom", type=Path, required=True, help="npz of experimental all-atom chains")
    arguments = parser.parse_args(argv)
    if (arguments.dump is None) != (arguments.cctbx is None):
        parser.error("the limits of Ramachandran need both: give --dump and --cctbx, or neither")
    lines = list(ramachandran_limits(arguments.dump, arguments.cctbx)) if arguments.dump else []
    lines.append(f"rotamer outliers at {SHARP} A or better: {rotamer_share(arguments.allatom):.4f}")
    print("\n".join(lines))  # noqa: T201 - a script's own output
    return 0


if __name__ == "__main__":
    raise SystemExit(guarded(main))
