"""The statistics of torsions as differentiable densities: the same torsions and kinds, and the same order."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import residue_constants as rc
from models import torsion_density
from pipeline.protein import read_structure
from pipeline.quality import rotamers
from pipeline.quality.assessment import find
from pipeline.quality.statistics import statistics

GOLDEN = Path(__file__).parents[1] / "golden"
FAST = {"xla_backend_optimization_level": 0}  # to compile, not to run
ramachandran, side_chains, interpolated = (
    jax.jit(function, compiler_options=FAST)
    for function in (torsion_density.ramachandran, torsion_density.rotamers, torsion_density.interpolated)
)


@pytest.fixture(scope="module", autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def bpti():
    return read_structure(GOLDEN / "1bpi_A.pdb")


def atom14(protein):
    """Return positions, mask and residue types for the differentiable functions."""
    rows, columns = np.arange(len(protein))[:, None], rc.ATOM14_TO_ATOM37[protein.aatype]
    mask = rc.ATOM14_MASK[protein.aatype] * protein.atom37_mask[rows, columns]
    positions = protein.atom37_positions[rows, columns] * mask[..., None]
    return *(jnp.asarray(part, jnp.float64) for part in (positions, mask)), jnp.asarray(protein.aatype)


def test_ramachandran_densities_are_of_the_same_torsions_and_kinds(bpti):
    grids = jnp.asarray(torsion_density.normalized(statistics().ramachandran_density))
    found = ramachandran(*atom14(bpti), jnp.asarray(bpti.residue_index), grids)
    seen = find(bpti)
    rows = np.isfinite(seen.ramachandran)
    np.testing.assert_array_equal(np.asarray(found.mask) > 0, rows)
    phi, psi = (np.deg2rad(angle[rows]) for angle in (seen.chain.phi, seen.chain.psi))
    expected = interpolated(grids, jnp.asarray(seen.kind[rows]), jnp.asarray(phi), jnp.asarray(psi))
    np.testing.assert_allclose(np.asarray(found.value)[rows], expected, atol=1e-3)


@pytest.mark.parametrize("kind", range(6))
def test_where_the_density_is_higher_fewer_residues_lie_below(kind):
    shares, densities = statistics().ramachandran[kind].ravel(), statistics().ramachandran_density[kind].ravel()
    there = shares > 0.01  # where so few lie that cells are empty, order is chance
    ranks = [np.argsort(np.argsort(values[there], kind="stable")) for values in (shares, densities)]
    assert np.corrcoef(*ranks)[0, 1] > 0.99
    assert np.all(shares[densities > -0.1] > 0.5)


def test_rotamer_densities_follow_the_scores(bpti):
    grids = torsion_density.side_chain_grids({letter: chi.tables for letter, chi in statistics().chi.items()})
    found = side_chains(*atom14(bpti), jnp.asarray(grids))
    chi = rotamers.chi_angles(bpti.aatype, bpti.atom37_positions, bpti.atom37_mask)
    scored = np.isfinite(rotamers.scores(bpti.aatype, chi))
    np.testing.assert_array_equal(np.asarray(found.mask) > 0, scored)
    for letter in "RKCY":
        rows = np.flatnonzero(scored & (bpti.aatype == rc.RESTYPE_ID[letter]))
        tables = statistics().chi[letter]
        density = rotamers.log_density(tables, chi[rows, : tables.torsions])
        # that looks into the nearest cell, whose middle is up to 3.5 degrees away
        difference = np.asarray(found.value)[rows] - density
        assert len(rows) > 3
        assert np.ptp(difference) < 1.5
        assert np.corrcoef(np.asarray(found.value)[rows], density)[0, 1] > 0.95
