"""Hydrogen bonds of the backbone: as DSSP sees them, and as the network expects them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import hydrogen_bonds
from models import residue_constants as rc
from pipeline.protein import read_structure

BACKBONE = [rc.ATOM37_ID[name] for name in ("N", "CA", "C", "O")]


@pytest.fixture(scope="module")
def bpti(golden):
    return read_structure(golden / "1bpi_A.pdb")


@pytest.fixture(scope="module")
def sites(bpti):
    return sites_of(bpti.atom37_positions[:, BACKBONE], bpti.aatype)


def sites_of(positions, aatype, there=None):
    n = len(aatype)
    there = np.ones(n, np.float32) if there is None else there
    return hydrogen_bonds.sites(jnp.asarray(positions), jnp.asarray(aatype), jnp.arange(n), jnp.asarray(there))


def kabsch_sander(protein):
    """Return the energy of N-H of each residue (row) with C=O of each (column), kcal/mol (Kabsch & Sander 1983)."""
    n, _, c, o = np.moveaxis(protein.atom37_positions[:, BACKBONE].astype(np.float64), 1, 0)
    hydrogen = n.copy()
    hydrogen[1:] += (c - o)[:-1] / np.linalg.norm((c - o)[:-1], axis=1, keepdims=True)
    pairs = ((n, o, 1), (hydrogen, c, 1), (hydrogen, o, -1), (n, c, -1))
    return sum(sign * 27.9 / np.linalg.norm(a[:, None] - b, axis=-1) for a, b, sign in pairs)


def everyone(sites):
    n = len(sites.gives)
    return jnp.broadcast_to(jnp.arange(n), (n, n))


def test_energies_are_those_of_the_charges(bpti, sites):
    giving, taking = np.asarray(hydrogen_bonds.energies_of(sites, everyone(sites)))
    np.testing.assert_allclose(giving, taking.T, atol=1e-5)
    donor, acceptor = np.unravel_index(np.argmin(giving), giving.shape)
    energy = kabsch_sander(bpti)[donor, acceptor]
    assert energy < -2
    assert giving[donor, acceptor] == pytest.approx(energy, abs=0.4)  # charges are a little soft
    letters = np.array([rc.RESTYPES_X[a] for a in bpti.aatype])
    assert not giving[letters == "P"].any()
    assert not giving[0].any()
    near = np.abs(np.arange(len(letters))[:, None] - np.arange(len(letters))) < 3
    assert not giving[near].any()
    assert (giving <= 0).all()


def test_the_strongest_are_those_of_dssp(bpti, sites):
    ours = {(i, int(j)) for i, j in enumerate(hydrogen_bonds.strongest(sites)) if i != j}
    energy = kabsch_sander(bpti)
    energy[0] = energy[bpti.aatype == rc.RESTYPE_ID["P"]] = 0  # no N-H, or its place is not known
    n = np.arange(len(bpti))
    energy[n, n] = energy[n[1:], n[:-1]] = 0
    two = np.argsort(energy, axis=1)[:, :2]  # those that DSSP keeps
    theirs = {(i, int(j)) for i, row in enumerate(two) for j in row if energy[i, j] < -0.5}
    assert len(ours) > 20
    assert ours <= theirs
    assert {(i, j) for i, j in theirs if abs(i - j) > 2} <= ours


def test_what_is_not_there_makes_no_bond(bpti):
    there = np.ones(len(bpti), np.float32)
    there[20:24] = 0
    sites = sites_of(bpti.atom37_positions[:, BACKBONE], bpti.aatype, there)
    found = np.asarray(hydrogen_bonds.energies_of(sites, everyone(sites))[0])
    assert found.any()
    assert not found[20:25].any()  # the N-H after a gap is not known either
    assert not found[:, 20:24].any()


def test_gradients_move_both_sides_of_a_pair(bpti, sites):
    donor, acceptor = np.unravel_index(
        np.argmin(hydrogen_bonds.energies_of(sites, everyone(sites))[0]), (len(bpti),) * 2
    )
    ends = jax.tree.map(lambda x: x[jnp.array([donor, acceptor])], sites)

    def met(shift):  # both meet each other
        moved = ends._replace(oxygen=ends.oxygen.at[1].add(shift[1]), nitrogen=ends.nitrogen.at[0].add(shift[0]))
        return hydrogen_bonds.energies_of(moved, jnp.array([[1], [0]])).sum()

    slopes = [float(met(step) - met(-step)) / 0.02 for step in 0.01 * jnp.eye(6).reshape(6, 2, 3)]
    found = jax.grad(met)(jnp.zeros((2, 3)))
    assert np.abs(found).max(axis=1).min() > 1  # kcal/mol per angstrom, of both sides
    np.testing.assert_allclose(found.ravel(), np.array(slopes) / 2, atol=5e-3)  # the pair counts twice, once from each


def test_shares_add_up_and_none_is_for_what_is_missing():
    rng = np.random.default_rng(0)
    logits, takes = jnp.asarray(rng.normal(size=(6, 6)), jnp.float32), jnp.array([1.0, 1, 0, 1, 1, 0])
    shares = np.exp(hydrogen_bonds.log_shares(logits, takes))
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert not shares[0, [2, 5]].any()
    assert shares[2, 2] > 0  # none is always possible


def test_the_likeliest_partners_are_found():
    n = 7
    logits = jnp.zeros((n, n)).at[1, 5].set(9.0).at[2, 5].set(8.0).at[3, 3].set(9.0).at[4, 6].set(20.0)
    seq_mask = jnp.ones(n).at[6].set(0)
    gives = seq_mask.at[0].set(0)  # a proline
    logits = logits.at[0, 5].set(30.0)
    found = hydrogen_bonds.expected(logits, gives, seq_mask, 2)
    assert (found.acceptors[1, 0], found.acceptors[2, 0]) == (5, 5)
    assert set(np.asarray(found.donors[5])) == {1, 2}
    assert found.given[1, 0] > 0.99
    assert found.given[3].max() < 0.01
    assert found.given[4].max() < 0.25  # the likeliest is padding
    assert not found.given[6].any()
    assert not found.taken[6].any()


def test_expected_bonds_that_are_there_cost_nothing_and_others_pull(sites):
    strongest = hydrogen_bonds.strongest(sites)
    logits = 20.0 * jax.nn.one_hot(strongest, len(strongest))
    wanted = hydrogen_bonds.expected(logits, sites.gives, sites.takes, 1)
    there = wanted.given[:, 0] > 0.5
    given, taken = np.asarray(hydrogen_bonds.missed(sites, wanted, 1.0))[:, :, 0]
    assert given[there].max() < 0.5  # half of a square angstrom
    assert np.median(given[there]) < 0.05
    for acceptor in np.flatnonzero(wanted.taken[:, 0] > 0.5):
        assert taken[acceptor] == pytest.approx(given[int(wanted.donors[acceptor, 0])], abs=1e-5)
    donor = int(np.flatnonzero(there)[0])

    def total(shift):
        moved = sites._replace(**{name: getattr(sites, name).at[donor].add(shift) for name in ("nitrogen", "hydrogen")})
        return hydrogen_bonds.missed(moved, wanted, 1.0)[0, donor, 0]

    away = sites.nitrogen[donor] - sites.oxygen[strongest[donor]]
    away = 6.0 * away / jnp.linalg.norm(away)
    value, slope = jax.value_and_grad(total)(away)
    assert value == pytest.approx(36, rel=0.2)  # two distances, 6 angstrom each
    assert jnp.dot(slope, away) > 0
