"""The guided structure: what strains goes, what is right stays, and neither motion nor padding changes it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from models import geometry, guidance, hydrogen_bonds, stereochemistry, torsion_density
from models import residue_constants as rc
from models.config import GuidanceConfig
from models.guidance import Chain, Fold
from models.structure import place_atoms
from pipeline.predict.torsions import usual_torsions
from pipeline.protein import read_structure

SEED, N = 3, 13
RISE, TURN, RADIUS = 1.5, np.deg2rad(100.0), 2.3  # of CA atoms along a helix, angstrom and radian


@pytest.fixture(scope="module")
def densities():
    return usual_torsions()


def chain(n=N, plddt=0.8, seed=SEED):
    aatype = np.random.default_rng(seed).integers(0, 20, n)
    return Chain(jnp.asarray(aatype), jnp.arange(n), jnp.ones(n), jnp.full(n, plddt))


def helix(n=N, noise=0.3, seed=SEED):
    """Return frames along a helix of CA atoms, with noise, and random side chains."""
    rng = np.random.default_rng(seed)
    angle = TURN * np.arange(-1, n + 1)
    trace = np.stack([RADIUS * np.cos(angle), RADIUS * np.sin(angle), RISE * np.arange(-1, n + 1)], axis=-1)
    trace = jnp.asarray(trace + noise * rng.normal(size=trace.shape), jnp.float32)
    frames = geometry.backbone_frames(trace[:-2], trace[1:-1], trace[2:])
    angles = rng.uniform(-np.pi, np.pi, (n, 7))
    return Fold(frames, jnp.asarray(np.stack([np.sin(angles), np.cos(angles)], axis=-1), jnp.float32))


def shaken(golden, shift=0.2, turn=0.05):
    """Return BPTI and a copy whose residues were moved (angstrom) and turned (half of the angle, radian) at random."""
    protein = read_structure(golden / "1bpi_A.pdb")
    aatype, mask = jnp.asarray(protein.aatype), jnp.asarray(protein.atom37_mask, jnp.float32)
    positions = jnp.asarray(protein.atom37_positions)
    frames, _ = geometry.frames_from_atoms(aatype, positions, mask)
    backbone = geometry.Rigid(frames.rotation[:, 0], frames.translation[:, 0])
    n, rng = len(protein), np.random.default_rng(SEED)
    fold = Fold(backbone, geometry.torsion_angles(aatype, positions, mask).sin_cos)
    noise = (jnp.asarray(size * rng.normal(size=(n, 3)), jnp.float32) for size in (turn, shift))
    move = guidance.Move(*noise, jnp.zeros(n))
    return Chain(aatype, jnp.arange(n), jnp.ones(n), jnp.full(n, 0.8)), fold, guidance.applied(move, fold)


def strain(fold, residues):
    """Return by how many standard deviations the bonds, and the angles, between residues are off."""
    _, positions = place_atoms(residues.aatype, *fold)
    mask = geometry.table(rc.ATOM14_MASK, residues.aatype, jnp.float32)
    bond, angle, _ = stereochemistry.peptide_energy(positions, mask, residues.aatype, residues.residue_index)
    return np.sqrt(2 * np.asarray(bond)), np.sqrt(2 * np.asarray(angle))


def ca_distances(fold):
    ca = fold.frames.translation
    return np.asarray(geometry.distances(ca, ca))


def test_bonds_and_angles_come_into_range(golden, densities):
    residues, native, start = shaken(golden)
    end = guidance.guide(start, residues, densities, GuidanceConfig())
    for before, after in zip(strain(start, residues), strain(end, residues), strict=True):
        assert np.mean(before > 4) > 0.5  # standard deviations
        assert np.mean(after > 4) < 0.03
    away, still = (np.abs(ca_distances(x) - ca_distances(native)).mean() for x in (start, end))
    assert still < away  # what is usual is also nearer to the truth


def test_sure_residues_are_held(densities):
    start = helix()
    moved = [
        guidance.guide(start, chain(plddt=plddt), densities, GuidanceConfig()).frames.translation
        for plddt in (0.95, 0.2)
    ]
    sure, unsure = (np.abs(np.asarray(x - start.frames.translation)).mean() for x in moved)
    assert sure < 0.8 * unsure


def test_expected_torsions_are_approached(densities):
    wanted, cells, start = np.radians([-90.0, -5.0]), 36, helix(noise=0.0)
    centres = (np.arange(cells) + 0.5) * 2 * np.pi / cells - np.pi
    logs = 4 * np.cos(centres - wanted[:, None])
    logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    unsure = chain(plddt=0.2)
    expecting = unsure._replace(torsions=jnp.asarray(np.broadcast_to(logs, (N, 2, cells)), jnp.float32))
    away = []
    for residues in (unsure, expecting):
        end = guidance.guide(start, residues, densities, GuidanceConfig())
        _, atoms = place_atoms(residues.aatype, *end)
        mask = geometry.table(rc.ATOM14_MASK, residues.aatype, jnp.float32)
        found = torsion_density.backbone_torsions(atoms, mask, residues.residue_index)
        angles = np.stack([found.phi, found.psi], axis=-1)[1:-1]
        away.append(np.mean(1 - np.cos(angles - wanted)))
    assert away[1] < 0.5 * away[0]


def test_atoms_in_one_another_part(densities):
    residues, fold = chain(), helix(noise=0.0)
    through = fold.frames.translation.at[N - 1].set(fold.frames.translation[2] + jnp.array([0.5, 0.3, 0.2]))
    start = fold._replace(frames=fold.frames._replace(translation=through))
    end = guidance.guide(start, residues, densities, GuidanceConfig())
    assert ca_distances(start)[2, N - 1] < 1
    assert ca_distances(end)[2, N - 1] > 3


def test_a_motion_of_the_whole_leaves_energy_and_first_step(densities):
    residues, start = chain(), helix()
    turn = geometry.rotation_from_vector(jnp.array([0.3, -0.7, 0.2]))
    motion = geometry.Rigid(turn[None], jnp.array([[5.0, -3.0, 11.0]]))
    moved = start._replace(frames=motion.compose(start.frames))
    config = dataclasses.replace(GuidanceConfig(), rounds=1, steps=1)
    energies = []
    for fold in (start, moved):
        near = guidance.contacts(guidance.backbone(fold, residues), residues, config)
        energies.append(guidance.energy(fold, near, residues, densities, config))
    np.testing.assert_allclose(*energies, rtol=1e-4)
    here, there = (guidance.guide(fold, residues, densities, config) for fold in (start, moved))
    np.testing.assert_allclose(ca_distances(there), ca_distances(here), atol=1e-3)


def test_padding_changes_nothing(densities):
    more = 4
    residues, start = chain(), helix()
    logits = jnp.asarray(np.random.default_rng(SEED).normal(0, 3, (N + more, N + more)), jnp.float32)

    def bonds(seq_mask):
        n = len(seq_mask)
        return hydrogen_bonds.expected(logits[:n, :n], seq_mask, seq_mask, 3)

    padded = Chain(
        jnp.pad(residues.aatype, (0, more)),
        jnp.pad(residues.residue_index, (0, more)),
        jnp.pad(residues.seq_mask, (0, more)),
        jnp.pad(residues.plddt, (0, more)),
        bonds=bonds(jnp.pad(residues.seq_mask, (0, more))),
    )
    residues = residues._replace(bonds=bonds(residues.seq_mask))
    nowhere = geometry.identity((more,))
    longer = Fold(
        geometry.Rigid(*(jnp.concatenate(parts) for parts in zip(start.frames, nowhere, strict=True))),
        jnp.pad(start.sin_cos, ((0, more), (0, 0), (0, 0)), constant_values=0.7),
    )
    config = dataclasses.replace(GuidanceConfig(), steps=5)
    alone, within = (guidance.guide(*x, densities, config) for x in ((start, residues), (longer, padded)))
    np.testing.assert_allclose(within.frames.translation[:N], alone.frames.translation, atol=1e-4)
    np.testing.assert_allclose(within.sin_cos[:N], alone.sin_cos, atol=1e-3)


def test_contacts_are_of_other_residues():
    residues, fold = chain(), helix(noise=0.0)
    found = guidance.contacts(guidance.backbone(fold, residues), residues, GuidanceConfig())
    there = np.asarray(found.lowest) > 0
    assert there.any()
    own, other = np.nonzero(there)[0], np.asarray(found.other)[there] // 5
    assert (np.abs(own - other) > 1).all()


def test_overlap_of_two_atoms_is_counted_from_both():
    sigma, gap = 0.2, 2.0
    positions = jnp.zeros((2, 5, 3)).at[1, :, 0].set(100.0).at[1, 1, 0].set(gap)
    other = jnp.zeros((2, 5, 1), jnp.int32).at[0, 1, 0].set(5 + 1).at[1, 1, 0].set(1)
    lowest = jnp.zeros((2, 5, 1)).at[:, 1, 0].set(3.0)
    near = guidance.Contacts(jnp.zeros((2, 1), jnp.int32), other, lowest)
    found = np.asarray(guidance.overlaps(positions, near, sigma))
    np.testing.assert_allclose(found[:, 1, 0], 0.5 * ((3.0 - gap) / sigma) ** 2, rtol=1e-5)
    assert found.sum() == pytest.approx(found[:, 1, 0].sum())
    gradient = jax.grad(lambda x: guidance.overlaps(x, near, sigma).sum())(positions)
    np.testing.assert_allclose(gradient[0, 1], -gradient[1, 1], rtol=1e-5)  # they push each other apart
    assert gradient[0, 1, 0] > 0


def sites(fold, residues):
    positions = guidance.backbone(fold, residues)[:, :4]
    return hydrogen_bonds.sites(positions, residues.aatype, residues.residue_index, residues.seq_mask)


def bonds(fold, residues):
    """Return which hydrogen bonds the backbone has, N-H by C=O."""
    everyone = jnp.broadcast_to(jnp.arange(len(residues.aatype)), (len(residues.aatype),) * 2)
    return np.asarray(hydrogen_bonds.energies_of(sites(fold, residues), everyone)[0]) < -0.5  # kcal/mol


def test_hydrogen_bonds_are_made(golden, densities):
    residues, native, start = shaken(golden)
    made = []
    for weight in (0.0, 1.0):
        config = dataclasses.replace(GuidanceConfig(), hydrogen_bonds=weight)
        made.append(bonds(guidance.guide(start, residues, densities, config), residues).sum())
    assert made[0] < made[1] <= 1.1 * bonds(native, residues).sum()


def test_strands_that_are_expected_bind_each_other(golden, densities):
    residues, _, start = shaken(golden, shift=1.5, turn=0.4)
    unsure = residues._replace(plddt=jnp.full(58, 0.3))
    strand = jnp.zeros(58).at[17:24].set(0.9).at[28:35].set(0.9)  # the hairpin of BPTI
    between = np.zeros((58, 58), bool)
    between[17:24, 28:35] = between[28:35, 17:24] = True
    ends = [guidance.guide(start, x, densities, GuidanceConfig()) for x in (unsure, unsure._replace(strand=strand))]
    without, within = ((bonds(end, residues) & between).sum() for end in ends)
    assert within > without + 2


def test_expected_hydrogen_bonds_are_approached(golden, densities):
    residues, native, start = shaken(golden, shift=1.0, turn=0.2)
    right = hydrogen_bonds.strongest(sites(native, residues))
    logits = 10.0 * jax.nn.one_hot(right, len(right))
    unsure, ones = residues._replace(plddt=jnp.full(len(right), 0.3)), residues.seq_mask
    expecting = unsure._replace(bonds=hydrogen_bonds.expected(logits, ones, ones, 2))
    ends = [guidance.guide(start, x, densities, GuidanceConfig()) for x in (unsure, expecting)]
    without, within = ((bonds(end, residues) & bonds(native, residues)).sum() for end in ends)
    assert within > 1.5 * without
    gaps = [np.abs(ca_distances(end) - ca_distances(native)).mean() for end in ends]
    assert gaps[1] < gaps[0]


def test_side_chains_are_carried_along(golden, densities):
    residues, _, start = shaken(golden)
    end = guidance.guide(start, residues, densities, GuidanceConfig())
    np.testing.assert_array_equal(end.sin_cos[:, 3:], start.sin_cos[:, 3:])
