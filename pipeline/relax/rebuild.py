"""Heavy atoms that a model lacks: backbones from CA, side chains from rotamers; bonds out of rings. NumPy only."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from models import residue_constants as rc
from pipeline.protein import Protein
from pipeline.quality.rotamers import chi_angles
from pipeline.relax import rings, trace
from pipeline.side_chains.pack import build_side_chains, without_side_chains
from pipeline.side_chains.rotamers import statistics

_N, _CA, _C, _O = (rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O"))
_BACKBONE = [_N, _CA, _C, _O]
_C_O = 1.231  # angstrom
_PASSES = 3  # over the bonds through rings


@dataclasses.dataclass(frozen=True, eq=False)
class Rebuilt:
    """A protein with new atoms.

    Args:
        protein: With them.
        given: Atoms that stand where the input had them, shape (n, 37).
        changes: What was built.
        findings: Bonds through rings that could not be taken out.
    """

    protein: Protein
    given: np.ndarray
    changes: tuple[str, ...]
    findings: tuple[str, ...]


def rebuild(protein: Protein, runs: Sequence[slice]) -> Rebuilt:
    """Complete the residues of the runs as far as their CA atoms allow, and take bonds out of rings.

    Args:
        protein: Any structure.
        runs: Bonded residues of known types.
    """
    whole = _with_backbones(protein, runs)
    rows = np.array([i for run in runs for i in range(run.start, run.stop)])
    ready = rows[whole.atom37_mask[rows][:, [_N, _CA, _C]].all(axis=1)]
    lacking = (rc.ATOM37_MASK[whole.aatype[ready]] > 0) & ~whole.atom37_mask[ready]
    built = build_side_chains(whole, ready[lacking.any(axis=1)])
    changes = _added(protein, built)
    unknotted, turned, findings = _without_piercings(built, runs)
    given = protein.atom37_mask & unknotted.atom37_mask
    given &= np.all(unknotted.atom37_positions == protein.atom37_positions, axis=-1)
    return Rebuilt(unknotted, given, (*changes, *turned), findings)


def _added(before: Protein, after: Protein) -> tuple[str, ...]:
    new = after.atom37_mask & ~before.atom37_mask
    return tuple(
        f"{after.label(int(i))} got {' '.join(rc.ATOM37[k] for k in np.flatnonzero(new[i]))}"
        for i in np.flatnonzero(new.any(axis=1))
    )


def _with_backbones(protein: Protein, runs: Sequence[slice]) -> Protein:
    xyz, mask = protein.atom37_positions.astype(np.float64), protein.atom37_mask.copy()
    for run in runs:
        lacks = ~mask[run][:, [_N, _C]].all(axis=1)
        if lacks.any() and mask[run, _CA].all():
            planes = trace.rebuild(xyz[run, _CA], statistics().peptides)
            for column, place in ((_N, 0), (_C, 2), (_O, 3)):
                new = np.flatnonzero(~mask[run, column]) + run.start
                xyz[new, column] = planes[new - run.start, place]
                mask[new, column] = True
        _add_oxygens(xyz, mask, run)
    return dataclasses.replace(protein, atom37_positions=xyz.astype(np.float32), atom37_mask=mask)


def _add_oxygens(xyz: np.ndarray, mask: np.ndarray, run: slice) -> None:
    """Place the carbonyl oxygens that are missing: opposite CA and the next N; of the last residue, away from N."""
    for i in range(run.start, run.stop):
        if mask[i, _O] or not mask[i, [_N, _CA, _C]].all():
            continue
        last = i + 1 == run.stop or not mask[i + 1, _N]
        if last:
            xyz[i, _O] = trace.attached(xyz[i, _N], xyz[i, _CA], xyz[i, _C], (_C_O, 120.1, -45.0))
        else:
            away = sum(_unit(xyz[i, _C] - other) for other in (xyz[i, _CA], xyz[i + 1, _N]))
            xyz[i, _O] = xyz[i, _C] + _C_O * _unit(np.asarray(away))
        mask[i, _O] = True


def _unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / max(np.linalg.norm(vector), 1e-6))


def _without_piercings(protein: Protein, runs: Sequence[slice]) -> tuple[Protein, tuple[str, ...], tuple[str, ...]]:
    """Rebuild the side chains of bonds that run through rings, or the ring where the bond is one of the backbone."""
    changes: list[str] = []
    found = rings.piercings(protein, runs)
    for attempt in range(_PASSES):
        wrong = {p.bond if p.side_chain and attempt < _PASSES - 1 else p.ring for p in found}
        rows = sorted(i for i in wrong if rc.CHI_ATOMS[rc.RESTYPES[protein.aatype[i]]] and _has_backbone(protein, i))
        if not rows:
            break
        protein = build_side_chains(without_side_chains(protein, rows), rows, _torsions(protein, rows))
        changes += [f"{protein.label(i)} got a new side chain: a bond ran through a ring" for i in rows]
        found = rings.piercings(protein, runs)
    findings = [f"a bond of {protein.label(p.bond)} runs through the ring of {protein.label(p.ring)}" for p in found]
    return protein, tuple(dict.fromkeys(changes)), tuple(findings)


def _has_backbone(protein: Protein, row: int) -> bool:
    return bool(protein.atom37_mask[row, [_N, _CA, _C]].all())


def _torsions(protein: Protein, rows: Sequence[int]) -> dict[int, np.ndarray]:
    """Return the side-chain torsions of residues as they stand, degrees."""
    chi = chi_angles(protein.aatype, protein.atom37_positions, protein.atom37_mask)
    return {i: chi[i, : len(rc.CHI_ATOMS[rc.RESTYPES[protein.aatype[i]]])] for i in rows}
