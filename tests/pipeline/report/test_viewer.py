"""What the 3D viewer is given: the vendored script, coordinates that come back, findings, agreement."""

import base64
import dataclasses
import gzip
import hashlib
import re

import numpy as np
import pytest

from models import residue_constants as rc
from pipeline.protein import CA, Protein, read_structure
from pipeline.quality.violations import violations
from pipeline.report import agreement, evidence, export, faults, viewer

RNG = np.random.default_rng(3)
N, ATOMS = 31, 37


def rotation():
    q, _ = np.linalg.qr(RNG.normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def protein(x, mask, n=N):
    numbers = tuple(str(i + 1) for i in range(n))
    aatype = np.zeros(n, np.int32)
    return Protein(aatype, x.astype(np.float32), mask, np.arange(n), np.full(n, "A"), numbers, np.full(n, 80.0))


def unpacked(records, text):
    """Read coordinates as the page's script does."""
    content, models = gzip.decompress(base64.b64decode(text)), []
    for record in records:
        atoms, bits = record["atoms"], -(-N * ATOMS // 8)
        mask, low, high, content = (
            content[:bits],
            content[bits : bits + 3 * atoms],
            content[bits + 3 * atoms : bits + 6 * atoms],
            content[bits + 6 * atoms :],
        )
        moves = np.frombuffer(low, np.uint8).astype(np.uint16) + (np.frombuffer(high, np.uint8).astype(np.uint16) << 8)
        steps = np.cumsum(moves.reshape(3, atoms), axis=1, dtype=np.uint16).astype(np.int16)
        present = np.unpackbits(np.frombuffer(mask, np.uint8), count=N * ATOMS).reshape(N, ATOMS).astype(bool)
        models.append((present, steps.T * record["step"]))
    assert content == b""
    return models


@pytest.mark.parametrize("extent", [10.0, 900.0, 20_000.0])
def test_coordinates_come_back_turned_and_moved_alike(extent):
    positions = RNG.normal(size=(2, N, ATOMS, 3)) * extent / 4
    mask = RNG.random((2, N, ATOMS)) < 0.3
    mask[:, :, CA] = True
    records, text = viewer.coordinates([("one", positions[0], mask[0]), ("two", positions[1], mask[1])])
    assert [record["name"] for record in records] == ["one", "two"]
    found = unpacked(records, text)
    before = np.concatenate([positions[i][mask[i]] for i in (0, 1)])
    after = np.concatenate([atoms for _, atoms in found])
    for i, (present, _) in enumerate(found):
        assert np.array_equal(present, mask[i])
    some = RNG.integers(0, len(before), (2, 200))
    distances = [np.linalg.norm(x[some[0]] - x[some[1]], axis=1) for x in (before, after)]
    assert distances[1] == pytest.approx(distances[0], abs=2 * max(record["step"] for record in records))
    volumes = [np.linalg.det(x[1:4] - x[0]) for x in (before, after)]
    assert np.sign(volumes[0]) == np.sign(volumes[1])  # not mirrored


def test_nothing_to_draw_is_empty():
    assert viewer.coordinates([]) == ([], "")


def test_the_viewer_is_the_one_that_its_readme_names():
    content = (viewer.VENDORED / "3Dmol-min.js").read_bytes()
    readme = (viewer.VENDORED / "README.md").read_text()
    assert f"| sha256 | `{hashlib.sha256(content).hexdigest()}` |" in readme
    assert f"| version | {viewer.VERSION} |" in readme
    assert f"3dmol v{viewer.VERSION}" in (viewer.VENDORED / "3Dmol-min.js.LICENSE.txt").read_text()
    assert all(
        holder in viewer.licences() for holder in ("University of Pittsburgh", "three.js", "Vitaly Puzrin", "Photopea")
    )
    assert gzip.decompress(base64.b64decode(viewer.packed_script())) == content


def test_the_font_is_the_one_that_its_readme_names():
    readme = (export.FONT.parent / "README.md").read_text()
    assert f"| sha256 | `{hashlib.sha256(export.FONT.read_bytes()).hexdigest()}` |" in readme


# Findings -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crystal(request):
    return read_structure(request.path.parents[1] / "golden" / "1bpi_A.pdb")


def test_a_crystal_structure_has_few_findings(crystal):
    found = faults.faults(crystal)
    assert len({fault.residue for fault in found}) < 0.5 * len(crystal)
    violating = {fault.residue for fault in found if fault.kind == "violation"}
    assert violating == set(np.flatnonzero(violations(crystal).residues).tolist())


def test_a_spoilt_residue_is_named_in_words_the_worst_first(crystal):
    x = crystal.atom37_positions.copy()
    x[20, rc.ATOM37_ID["O"]] = x[40, CA] + 0.5
    found = [fault for fault in faults.faults(dataclasses.replace(crystal, atom37_positions=x)) if fault.residue == 20]
    assert found[0].kind == "violation"
    assert {"inside another residue"} <= {fault.words for fault in found}
    assert any(re.match(r"\d+ atoms overlap, by \d\.\d \u00c5 at most", fault.words) for fault in found)
    order = [list(faults.KINDS).index(fault.kind) for fault in found]
    assert order == sorted(order)


def test_a_mirrored_residue_and_a_missing_atom_are_named(crystal):
    x, mask = crystal.atom37_positions.copy(), crystal.atom37_mask.copy()
    n, ca, c, cb = (x[4, rc.ATOM37_ID[name]] for name in ("N", "CA", "C", "CB"))
    normal = np.cross(n - ca, c - ca)
    normal /= np.linalg.norm(normal)
    x[4, rc.ATOM37_ID["CB"]] = cb - 2 * ((cb - ca) @ normal) * normal
    mask[9, rc.ATOM37_ID["O"]] = False
    found = faults.faults(dataclasses.replace(crystal, atom37_positions=x, atom37_mask=mask))
    assert (4, "of the wrong chirality (D)") in {(fault.residue, fault.words) for fault in found}
    assert (9, "1 atom missing") in {(fault.residue, fault.words) for fault in found}


# Agreement ------------------------------------------------------------------------------------------------------------


def beside(*others):
    x, mask = np.zeros((N, ATOMS, 3)), np.zeros((N, ATOMS), bool)
    x[:, CA], mask[:, CA] = RNG.normal(size=(N, 3)) * 8, True
    predicted = protein(x, mask)
    made = tuple(
        evidence.Other(f"m{k}, seed 0", other(predicted.atom37_positions[:, CA])) for k, other in enumerate(others)
    )
    return evidence.Evidence("t", "t", "A" * N, predicted=predicted, others=made)


def test_the_same_model_elsewhere_agrees_wholly():
    known = beside(lambda x: x @ rotation().T + 7.0)
    (found,) = agreement.agreement(known)
    assert (found.lddt, found.name) == (1.0, "m0, seed 0")
    assert found.rmsd == pytest.approx(0, abs=1e-4)
    assert found.ca == pytest.approx(known.predicted.atom37_positions[:, CA], abs=1e-4)


def test_a_moved_end_disagrees_there():
    def bent(x):
        moved = x.copy()
        moved[-5:] += 30.0
        return moved

    (found,) = agreement.agreement(beside(bent))
    assert np.nanmean(found.per_residue[-5:]) < np.nanmean(found.per_residue[:-5])
    assert found.rmsd > 3


def test_what_cannot_be_compared_is_left_out():
    assert agreement.agreement(beside(lambda x: x[:-1], lambda x: np.full_like(x, np.nan))) == []
    assert agreement.agreement(evidence.Evidence("t", "t", "A")) == []
