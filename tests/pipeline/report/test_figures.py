"""Figures: well formed whatever they are given, inert whatever they are told, right where it can be checked."""

import re
import struct
import xml.etree.ElementTree as ET
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.numbering import author_numbers
from pipeline.protein import Protein
from pipeline.quality.secondary import likeliest_states, secondary_structure, three_states
from pipeline.report import chain, figures, maps, png, ramachandran, ribbon, style
from pipeline.report.bands import BANDS, band_of
from pipeline.report.svg import Scale, element, figure, number, residue_ticks, text, tick_label

RNG = np.random.default_rng(7)
HELIX, EXTENDED = (-57.0, -47.0), (-120.0, 130.0)


def backbone(torsions, count):
    """Build an ideal backbone, atom37, from phi and psi: Engh & Huber's bonds and angles."""
    phi, psi = torsions
    bonds = {"N": (1.329, 116.2, psi), "CA": (1.458, 121.7, 180.0), "C": (1.525, 111.0, phi)}
    atoms = [np.array([0.0, 0.0, 0.0]), np.array([1.458, 0.0, 0.0]), np.array([2.0, 1.42, 0.0])]
    for i in range(3, 3 * count + 1):
        atoms.append(_next(atoms[-3:], *bonds[("N", "CA", "C")[i % 3]]))
    positions = np.zeros((count, 37, 3), np.float32)
    positions[:, :3] = np.array(atoms[:-1]).reshape(count, 3, 3)
    for i in range(count):  # O lies in the peptide plane, opposite to the next N
        positions[i, chain.O] = _next([atoms[3 * i], atoms[3 * i + 1], atoms[3 * i + 2]], 1.231, 120.1, psi + 180)
    mask = np.zeros((count, 37), bool)
    mask[:, [chain.N, chain.CA, chain.C, chain.O]] = True
    return positions, mask


def _next(three, length, angle, torsion):
    a, b, c = three
    axis = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, axis)
    normal /= np.linalg.norm(normal)
    angle, torsion = np.radians(180 - angle), np.radians(torsion)
    local = np.array([np.cos(angle), np.sin(angle) * np.cos(torsion), np.sin(angle) * np.sin(torsion)])
    return c + length * (local[0] * axis + local[1] * np.cross(normal, axis) + local[2] * normal)


def fold(count=31, torsions=HELIX):
    positions, mask = backbone(torsions, count)
    return ribbon.Fold(positions, mask, np.arange(count) * 4 // count, letters(positions, mask))


def letters(positions, mask):
    """Return the secondary structure of a chain of alanines as the pages show it."""
    n = len(positions)
    names = tuple(map(str, range(n)))
    zero = np.zeros(n, np.int32)
    protein = Protein(zero, positions, mask, np.arange(n, dtype=np.int32), np.full(n, "A"), names, np.zeros(n))
    return three_states(secondary_structure(protein))


def rotation():
    matrix = np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    return matrix * np.sign(np.linalg.det(matrix))


HIT = {
    "id": "1ABC_A",
    "identity": 0.31,
    "query_start": 2,
    "query_alignment": "AC-DEF",
    "template_alignment": "ACG-EF",
}


def counted(n):
    return author_numbers("1", n)


DRAWN = {
    "plddt": lambda n: figures.plddt_figure(
        RNG.uniform(0, 100, n), counted(n), "HE-"[: min(n, 3)] + "-" * max(n - 3, 0)
    ),
    "plddt and what is expected": lambda n: figures.plddt_figure(
        RNG.uniform(0, 100, n), counted(n), "-" * n, "EH-"[: min(n, 3)] + "-" * max(n - 3, 0)
    ),
    "plddt with a gap": lambda n: figures.plddt_figure(
        np.append(RNG.uniform(0, 100, n), [np.nan, 40.0]), counted(n + 2)
    ),
    "depth": lambda n: figures.depth_figure(RNG.integers(1, 900, n), counted(n), 30),
    "depth and Neff": lambda n: figures.depth_figure(RNG.integers(1, 900, n), counted(n), 30, RNG.uniform(1, 400, n)),
    "agreement": lambda n: figures.agreement_figure(
        [(name, np.append(RNG.uniform(0, 1, n), np.nan)) for name in "ab"], counted(n + 1)
    ),
    "displacement": lambda n: figures.displacement_figure(RNG.uniform(0, 2, n), counted(n)),
    "still": lambda n: figures.displacement_figure(np.zeros(n), counted(n)),
    "coverage": lambda n: figures.coverage_figure([HIT] * 3, ["1ABC_A"], counted(n + 8)),
    "timing": lambda n: figures.timing_figure({"search": 0.2, "predict": float(n)}),
    "recycles": lambda n: figures.recycle_figure(list(RNG.uniform(0, 3, n % 5 + 1))),
    "comparison": lambda n: figures.comparison_figure([("bonds", float(n), 0.0), ("angles <", 1.25, -2.0)]),
    "histogram": lambda n: figures.histogram_figure(RNG.uniform(0, 100, n)),
    "pae": lambda n: maps.pae_figure(RNG.uniform(0, 31, (n, n)), counted(n)),
    "distances": lambda n: maps.distance_figure(RNG.normal(size=(n, 3)), RNG.random(n) < 0.8, counted(n)),
    "ribbon": lambda n: ribbon.ribbon_figure(fold(n), "a fold"),
    "trace": lambda n: ribbon.trace_figure(fold(n), "a fold"),
    "ramachandran": lambda n: ramachandran.ramachandran_figure(
        [("one", random_torsions(n)), ("two", random_torsions(n))]
    ),
}


def random_torsions(count):
    phi, psi = RNG.uniform(-180, 180, (2, count))
    return ramachandran.torsions(phi, psi, np.arange(count) % 6, [f"Ala {i}" for i in range(count)])


@pytest.mark.parametrize("count", [1, 2, 7, 311])
@pytest.mark.parametrize("name", DRAWN)
def test_figures_are_well_formed_and_labelled(name, count):
    drawn = DRAWN[name](count)
    root = ET.fromstring(drawn)  # noqa: S314  our own text
    assert root.tag.endswith("svg")
    assert root.get("role") == "img"
    assert len(root.get("aria-label")) > 5
    assert "nan" not in re.sub(r'data:[^"]*', "", drawn)
    assert all("http" not in value for e in root.iter() for value in e.attrib.values())


@given(st.text())
def test_any_text_comes_back_as_text(content):
    drawn = figure("key", content, 10, 10, [text(1, 2, content, data_note=content)])
    root = ET.fromstring(drawn)  # noqa: S314  our own text
    assert [child.tag.rpartition("}")[2] for child in root] == ["text"]
    assert set(root[0].attrib) == {"x", "y", "data-note"}
    legal = "".join(c if c in "\t\n\r" or "\x20" <= c <= "\ud7ff" or c > "\udfff" else "\ufffd" for c in content)
    legal = legal.replace("\ufffe", "\ufffd").replace("\uffff", "\ufffd")
    assert (root[0].text or "") == legal.replace("\r\n", "\n").replace("\r", "\n")


def test_elements_leave_out_what_is_none():
    assert element("g", class_=None, stroke_width=1.25) == '<g stroke-width="1.2"/>'


@pytest.mark.parametrize(("value", "written"), [(0, "0"), (-0.01, "0"), (3, "3"), (2.5, "2.5"), (-7.04, "-7")])
def test_coordinates_are_short(value, written):
    assert number(value) == written


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 9))
def test_ticks_are_inside_and_not_too_many(low, span, count):
    ticks = Scale(low, low + span, 0, 100).ticks(count)
    assert len(ticks) <= count + 1
    assert all(
        low - 1e-6 * abs(low) - 1e-6 * span <= tick <= low + span * (1 + 1e-6) + 1e-6 * abs(low) for tick in ticks
    )


def test_tick_labels_are_for_people():
    assert [tick_label(v) for v in (-90.0, 12000.0, 0.2)] == ["\u221290", "12\u202f000", "0.2"]


@pytest.mark.parametrize("length", [1, 11, 97, 130, 1999])
def test_residues_are_numbered_from_one(length):
    ticks = residue_ticks(counted(length), 800)
    places = list(ticks)
    assert places[0] == 1
    assert max(places) <= length
    assert len(places) <= 18
    assert sorted(set(places)) == places
    assert list(ticks.values()) == [str(int(place)) for place in places]


@pytest.mark.parametrize(
    ("numbering", "ticks"),
    [
        ("243", {1: "243", 8: "250", 18: "260", 28: "270", 38: "280"}),
        ("-3", {1: "\u22123", 14: "10", 24: "20", 34: "30"}),
        ("17-36,101", {1: "17", 14: "30", 21: "101", 30: "110", 40: "120"}),
        ("8,8A,8B,9", {1: "8", 15: "20", 25: "30", 35: "40"}),
    ],
)
def test_residues_carry_the_users_numbers(numbering, ticks):
    assert residue_ticks(author_numbers(numbering, 41), 400) == ticks


def test_bands_are_those_of_alphafold():
    assert band_of(np.array([0, 49.99, 50, 69.9, 70, 89.9, 90, 100])).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [band.name for band in BANDS] == ["very low", "low", "confident", "very high"]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.123, "0.12 s"), (4.25, "4.2 s"), (59.7, "1 min 0 s"), (61, "1 min 1 s"), (7325, "2 h 2 min"), (12, "12 s")],
)
def test_durations_in_words(seconds, words):
    assert figures.duration(seconds) == words


def test_templates_cover_aligned_columns_only():
    assert figures.aligned_runs(HIT) == [(2, 4), (5, 7)]


def test_png_holds_the_indices():
    indices = RNG.integers(0, 5, (7, 11))
    data = png.indexed_png(indices, np.arange(15).reshape(5, 3))
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    assert (width, height, depth, colour) == (11, 7, 8, 3)
    start = data.index(b"IDAT") + 4
    size = struct.unpack(">I", data[start - 8 : start - 4])[0]
    rows = np.frombuffer(zlib.decompress(data[start : start + size]), np.uint8).reshape(7, 12)
    assert (rows[:, 0] == 0).all()
    assert (rows[:, 1:] == indices).all()
    assert struct.unpack(">I", data[start + size : start + size + 4])[0] == zlib.crc32(data[start - 4 : start + size])


def test_shrinking_averages_blocks():
    values = RNG.normal(size=(12, 12))
    values[0, 0] = np.nan
    small = png.shrink(values, 6)
    assert small.shape == (6, 6)
    assert small[0, 0] == pytest.approx(np.nanmean(values[:2, :2]))
    assert small[3, 5] == pytest.approx(values[6:8, 10:].mean())
    assert png.shrink(values, 12) is values
    assert png.shrink(RNG.normal(size=(13, 13)), 6).shape == (5, 5)


def test_gradients_start_and_end_with_their_anchors():
    colours = png.gradient(("#000000", "#0a141e", "#ffffff"), 5)
    assert colours[[0, 2, 4]].tolist() == [[0, 0, 0], [10, 20, 30], [255, 255, 255]]


def test_helices_and_strands_are_found():
    assert letters(*backbone(HELIX, 17)) == "-" + "H" * 15 + "-"
    assert letters(*backbone(EXTENDED, 13)) == "-" * 13


def test_the_expected_secondary_structure_is_drawn_below_that_of_the_model():
    plain, both = (figures.plddt_figure(np.full(7, 60.0), counted(7), "HHH-EE-", more) for more in ("", "-EEE-HH"))
    assert [plain.count(f'class="{kind}"') for kind in ("helix", "strand")] == [1, 1]
    assert [both.count(f'class="{kind}"') for kind in ("helix", "strand")] == [2, 2]
    assert "expected" in both
    assert "expected" not in plain


def test_the_likeliest_states_are_letters():
    assert likeliest_states(np.array([[0.5, 0.2, 0.3], [0.1, 0.6, 0.3], [0.3, 0.3, 0.4]])) == "HE-"
    assert likeliest_states(np.empty((0, 3))) == ""


def test_secondary_structure_does_not_turn_with_the_model():
    positions, mask = backbone(HELIX, 13)
    turned = positions @ rotation().T + RNG.normal(size=3)
    assert letters(turned, mask) == letters(positions, mask)


def test_missing_atoms_make_no_bonds():
    positions, mask = backbone(HELIX, 17)
    mask[5:12] = False
    assert letters(positions, mask)[5:12] == "-" * 7


def test_breaks_part_the_chain():
    positions, mask = backbone(HELIX, 11)
    positions[7:] += 9.0
    mask[2, chain.CA] = False
    assert [piece.tolist() for piece in chain.pieces(positions, mask)] == [[0, 1], [3, 4, 5, 6], [7, 8, 9, 10]]


def test_the_view_is_a_rotation_that_lays_the_fold_flat():
    points = RNG.normal(size=(37, 3)) * [9, 5, 2] @ rotation().T
    view = chain.principal_view(points)
    assert view @ view.T == pytest.approx(np.eye(3), abs=1e-9)
    assert np.linalg.det(view) == pytest.approx(1)
    spread = ((points - points.mean(axis=0)) @ view.T).std(axis=0)
    assert spread[0] > spread[1] > spread[2]
    moved = points @ rotation().T + 3.0
    assert ((moved - moved.mean(axis=0)) @ chain.principal_view(moved).T).std(axis=0) == pytest.approx(spread)


def test_each_residue_of_the_trace_is_drawn_in_its_band():
    drawn = ribbon.trace_figure(fold(43), "a fold")
    assert [int(band) for band in re.findall(r'class="t(\d)"', drawn)] == [0, 1, 2, 3]


def test_the_ribbon_has_a_colour_for_every_class_it_uses():
    sheet = style.style_sheet()
    used = set(re.findall(r'<path class="(r\d+)"', ribbon.ribbon_figure(fold(53), "a fold")))
    assert len(used) > 8
    assert all(f".{name}{{" in sheet for name in used)


def test_a_hydrogen_bonded_helix_lies_where_helices_lie():
    kinds = np.array([0, 0, 3, 4, 0])
    found = ramachandran.Torsions(
        phi=np.array([-60.0, -120.0, 85.0, -65.0, 75.0]),
        psi=np.array([-45.0, 130.0, 5.0, 140.0, -120.0]),
        kind=kinds,
        names=tuple("abcde"),
        residue=np.arange(5),
    )
    assert found.levels.tolist() == [2, 2, 2, 2, 0]
    assert ramachandran.shares(found) == {"favoured": 0.8, "allowed": 0.0, "outside": 0.2}


def test_the_shaded_regions_are_those_of_the_general_kind():
    regions = ramachandran.regions()
    assert regions.shape == (72, 72)
    assert 0.1 < (regions == 2).mean() < 0.25
    assert 0.3 < (regions >= 1).mean() < 0.55


def test_residues_without_both_torsions_are_left_out():
    found = ramachandran.torsions(np.full(5, -60.0), np.array([np.nan, 1, 2, 3, 4]), np.arange(5), list("abcde"))
    assert found.kind.tolist() == [1, 2, 3, 4]
    assert found.names == ("b", "c", "d", "e")
    assert found.residue.tolist() == [1, 2, 3, 4]
