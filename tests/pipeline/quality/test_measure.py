"""Everything that is measured beside AlphaFold 2's violations: laws, known structures, and the statistics."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from models import residue_constants as rc
from pipeline import quality
from pipeline.protein import read_structure
from pipeline.quality import ramachandran, rotamers
from pipeline.quality.accessibility import accessible_surface, relative_surface
from pipeline.quality.assessment import find
from pipeline.quality.clashes import find_clashes
from pipeline.quality.covalent import cb_deviation, planarity
from pipeline.quality.hydrogens import place_hydrogens
from pipeline.quality.secondary import LETTERS, secondary_structure, three_states
from pipeline.quality.statistics import FILE, statistics

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def cage():
    return read_structure(GOLDEN / "1l2y_A.pdb")


@pytest.fixture(scope="module")
def bpti():
    return read_structure(GOLDEN / "1bpi_A.pdb")


def moved(protein, change):
    positions = protein.atom37_positions.copy()
    change(positions)
    return dataclasses.replace(protein, atom37_positions=positions)


def column(protein, i, name):
    return protein.atom37_positions[i, rc.ATOM37_ID[name]]


def rotated(protein):
    q, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    turned = protein.atom37_positions @ (q * np.sign(np.linalg.det(q))).astype(np.float32).T + 13
    return dataclasses.replace(protein, atom37_positions=turned)


def test_rigid_motion_changes_nothing_but_the_points_of_the_surface(bpti):
    one, two = quality.measure(bpti), quality.measure(rotated(bpti))
    for name in ("accessible_surface", "relative_surface"):
        np.testing.assert_allclose(one.residues.pop(name), two.residues.pop(name), atol=8)
    loose = {"accessible_surface", "exposed"}
    for name, value in one.summary.items():
        assert value == (pytest.approx(two.summary[name], rel=0.06) if name in loose else two.summary[name]), name
    for name, values in one.residues.items():
        other = two.residues[name]
        assert [v is None for v in values] == [v is None for v in other], name
        pairs = [(a, b) for a, b in zip(values, other, strict=True) if a is not None]
        assert all(a == (pytest.approx(b, abs=0.11) if isinstance(a, float) else b) for a, b in pairs), name


def test_the_record_can_be_written_whatever_the_coordinates(bpti):
    def spoil(positions):
        positions[3, 1] = np.nan
        positions[5] = np.inf
        positions[7, 2] = 1e30

    for protein in (
        moved(bpti, spoil),
        dataclasses.replace(bpti, aatype=np.full(58, rc.UNKNOWN)),
        dataclasses.replace(bpti, atom37_mask=np.zeros((58, 37), bool)),
    ):
        found = quality.measure(protein)
        json.dumps(dataclasses.asdict(found), allow_nan=False)
        assert {len(values) for values in found.residues.values()} == {58}
    assert found.summary["ramachandran_favoured"] is None
    assert found.summary["radius_of_gyration"] is None


def test_one_residue_is_measured(cage):
    arrays = {"aatype", "atom37_positions", "atom37_mask", "residue_index", "chain_id", "b_factor"}
    one = dataclasses.replace(
        cage, **{name: getattr(cage, name)[5:6] for name in arrays}, author_number=cage.author_number[5:6]
    )
    assert quality.measure(one).summary["residues"] == 1


def test_a_group_out_of_its_plane(bpti):
    worst = planarity(bpti)
    i = bpti.sequence.index("F")

    def lift(positions):
        ring = positions[i, [rc.ATOM37_ID[name] for name in ("CG", "CE1", "CE2")]]
        normal = np.cross(ring[1] - ring[0], ring[2] - ring[0])
        positions[i, rc.ATOM37_ID["CZ"]] += 0.3 * normal / np.linalg.norm(normal)

    assert worst[i] < 0.05
    assert 0.1 < planarity(moved(bpti, lift))[i] < 0.3


def test_cb_of_a_mirror_image_is_far_off(cage):
    mirror = dataclasses.replace(cage, atom37_positions=cage.atom37_positions * np.array([1, 1, -1], np.float32))
    glycine = np.array(list(cage.sequence)) == "G"
    assert np.isnan(cb_deviation(cage)[glycine]).all()
    assert cb_deviation(cage)[~glycine].max() < 0.25
    assert cb_deviation(mirror)[~glycine].min() > 1.5


# Ramachandran and rotamers --------------------------------------------------------------------------------------------


def test_each_kind_of_residue_has_its_map():
    aatype = np.array([rc.RESTYPE_ID[letter] for letter in "AIAGPPX"])
    omega = np.array([180.0, 180, 180, 180, 179, -3, 180])
    before_proline = np.array([False, False, True, True, False, False, False])
    assert ramachandran.kinds(aatype, omega, before_proline).tolist() == [0, 1, 2, 3, 4, 5, 0]


def test_helix_and_sheet_are_favoured_and_the_empty_quarter_is_not():
    phi, psi = np.array([-63.0, -120, 57, 90, 90, np.nan]), np.array([-43.0, 130, 47, -90, -10, 0])
    general, glycine = np.zeros(6, int), np.full(6, 3)
    assert ramachandran.levels(general, ramachandran.scores(general, phi, psi)).tolist() == [2, 2, 2, 0, 1, -1]
    assert ramachandran.levels(glycine, ramachandran.scores(glycine, phi, psi))[4] == 2


def test_the_map_of_glycine_has_no_hand_and_all_are_shares():
    maps = statistics().ramachandran
    assert maps.shape == (6, 90, 90)
    np.testing.assert_allclose(maps[3], maps[3, ::-1, ::-1], atol=2e-3)
    assert maps.min() >= 0
    assert 0.99 < maps.max() <= 1


def test_rotamers_of_leucine_and_of_a_side_chain_with_two_names():
    letters = [rc.RESTYPE_ID[letter] for letter in "LLLFFAG"]
    chi = np.full((7, 4), np.nan)
    chi[:5, :2] = [(-65, 175), (-177, 63), (0, 0), (-65, 85), (-65, -95)]
    score = rotamers.scores(np.array(letters), chi)
    assert (score[:2] > 0.2).all()
    assert score[2] < 0.001
    assert score[3] == pytest.approx(score[4], abs=0.02)  # half a turn of the ring changes nothing
    assert np.isnan(score[5:]).all()


def test_a_missing_atom_makes_no_torsion(bpti):
    i = bpti.sequence.index("K")
    mask = bpti.atom37_mask.copy()
    mask[i, rc.ATOM37_ID["CE"]] = False
    chi = rotamers.chi_angles(bpti.aatype, bpti.atom37_positions, mask)[i]
    assert np.isfinite(chi).tolist() == [True, True, False, False]


def test_the_statistics_say_where_they_come_from():
    facts = statistics().facts
    assert FILE.stat().st_size < 200_000
    for part in ("ramachandran", "rotamers"):
        assert {"source", "licence", "residues"} < facts[part].keys()
    assert sum(facts["ramachandran"]["residues"].values()) > 4e6
    assert set(statistics().chi) == set("RNDCQEHILKMFPSTWYV")


# Clashes --------------------------------------------------------------------------------------------------------------


def test_good_structures_have_few_clashes(cage, bpti):
    assert find(cage).clashes.score == 0
    assert find(bpti).clashes.score < 8


@pytest.mark.parametrize("case", json.loads((GOLDEN / "clashes.json").read_text())["cases"], ids=lambda c: c["noise"])
def test_clashes_are_those_of_reduce_and_probe(bpti, case):
    noise = np.random.default_rng(1).normal(scale=case["noise"], size=bpti.atom37_positions.shape)
    shaken = dataclasses.replace(bpti, atom37_positions=(bpti.atom37_positions + noise).astype(np.float32))
    found = quality.measure(shaken).overlaps
    ours = {frozenset((one, two)): overlap for one, two, overlap in found}
    theirs = {frozenset(map(named, pair)): overlap for *pair, overlap in case["clashes"]}
    assert set(ours) == set(theirs)
    for pair, overlap in theirs.items():
        assert ours[pair] == pytest.approx(overlap, abs=0.06)


def named(atom):
    """Return a name of Reduce's as ours: a hydrogen by its heavy atom."""
    place, name = atom.split(" ")
    heavy = {"HA": "CA", "HA2": "CA", "HG2": "CG", "HD3": "CD", "HD12": "CD1"}
    return f"{place} H {heavy[name]}" if name.startswith("H") else atom


def test_hydrogens_stand_off_their_neighbours(bpti):
    chain = quality.backbone(bpti)
    found = place_hydrogens(bpti, chain.bonded)
    parents = bpti.atom37_positions[found.residue, found.parent].astype(float)
    distance = np.linalg.norm(found.positions - parents, axis=1)
    np.testing.assert_allclose(distance, np.where(found.polar, 0.86, np.where(found.aromatic, 0.93, 0.97)), atol=1e-6)
    assert len(found.residue) > 400
    hydrogen = np.linalg.norm(found.positions[:, None] - found.positions[None], axis=-1) + 9 * np.eye(len(distance))
    assert hydrogen.min() > 1.3  # two of one carbon


def test_atoms_in_one_place_clash_and_bonded_ones_do_not(cage):
    target = column(cage, 17, "CG")

    def onto(positions):
        positions[2, rc.ATOM37_ID["OH"]] = target

    chain = quality.backbone(cage)
    found = find_clashes(moved(cage, onto), chain.bonded)
    assert found.overlap.max() > 2.5
    count, worst = found.of_residues(20)
    assert count[2] > 0
    assert worst[2] == found.overlap.max()
    assert found.atoms == find_clashes(cage, chain.bonded).atoms


def test_unknown_residues_take_no_part(bpti):
    aatype = bpti.aatype.copy()
    aatype[20:25] = rc.UNKNOWN
    some = dataclasses.replace(bpti, aatype=aatype)
    found = find_clashes(some, quality.backbone(some).bonded)
    assert not np.isin(found.residues, range(20, 25)).any()
    assert found.atoms < find(bpti).clashes.atoms - 60


def test_overlaps_are_listed_from_the_worst(bpti):
    found = quality.measure(bpti)
    assert len(found.overlaps) == found.summary["overlaps"] > 0
    assert found.overlaps[0][2] == max(value for value in found.residues["worst_overlap"])
    assert found.overlaps[0][0].startswith("A:")


def test_hydrogen_bonds_and_disulfides_do_not_clash(bpti):
    chain = quality.backbone(bpti)
    names = [set(pair) for pair in find_clashes(bpti, chain.bonded).pairs]
    assert {"SG"} not in names
    assert {"H N", "O"} not in names


# Secondary structure and surface --------------------------------------------------------------------------------------


def test_secondary_structure_of_bpti_and_of_the_cage(cage, bpti):
    # mkdssp 4.2.2 on the same files
    assert secondary_structure(cage) == "-HHHHHHHTTGGGGT-PPP-"
    assert secondary_structure(bpti) == "--GGGGSPP---SS---EEEEEEETTTTEEEEEEE-SSS--SS-BSSHHHHHHHHS--"
    assert three_states("".join(LETTERS)) == "HHH-E----"


def test_residues_without_a_backbone_have_no_structure(cage):
    mask = cage.atom37_mask.copy()
    mask[4, rc.ATOM37_ID["O"]] = False
    found = secondary_structure(dataclasses.replace(cage, atom37_mask=mask))
    assert found[4] == "-"
    assert len(found) == 20


def test_surface_of_a_lone_atom_is_a_sphere(cage):
    mask = np.zeros_like(cage.atom37_mask)
    mask[4, rc.ATOM37_ID["CA"]] = True
    surface = accessible_surface(dataclasses.replace(cage, atom37_mask=mask))
    assert surface[4] == pytest.approx(4 * np.pi * (1.88 + 1.4) ** 2)
    assert surface.sum() == surface[4]


def test_buried_and_exposed(bpti):
    share = relative_surface(bpti.aatype, accessible_surface(bpti, 200))
    assert 0 <= share.min() < 0.01
    assert 0.7 < share.max() < 1.4  # the last residue has an oxygen more
    assert share[bpti.sequence.index("F")] < 0.5
    far = dataclasses.replace(bpti, atom37_positions=bpti.atom37_positions * 40)
    assert (accessible_surface(far) > 2 * accessible_surface(bpti)).all()
