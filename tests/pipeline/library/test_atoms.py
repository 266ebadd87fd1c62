"""The code of all atoms: what comes back, how exactly, how large it is, and what damage says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.residue_constants import RESTYPES_X
from pipeline.library.atoms import EXPECTED, LARGEST_ERROR, NO_NUMBER, ChainAtoms, aatype_of, pack, unpack
from pipeline.library.mmcif import read_entry
from pipeline.library.store import Atoms


def random_chain(rng, residues, spread, known):
    aatype = rng.integers(0, 21, residues).astype(np.int8)
    mask = rng.random((residues, 37)) < known
    positions = np.where(mask[..., None], rng.normal(scale=spread, size=(residues, 37, 3)), 0).astype(np.float32)
    numbers = np.where(rng.random(residues) < 0.2, NO_NUMBER, rng.integers(-99, 9999, residues)).astype(np.int32)
    return ChainAtoms(Atoms(positions, mask), numbers, rng.integers(32, 90, residues).astype(np.uint8)), aatype


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(0, 23), st.sampled_from([0.3, 40.0, 9e4]), st.sampled_from([0, 0.1, 0.7, 1])
)
def test_any_chain_comes_back(seed, residues, spread, known):
    chain, aatype = random_chain(np.random.default_rng(seed), residues, spread, known)
    found = unpack(pack(chain, aatype), aatype)
    assert (found.atoms.mask == chain.atoms.mask).all()
    assert (found.numbers == chain.numbers).all()
    assert (found.insertions == chain.insertions).all()
    error = np.abs(found.atoms.positions - chain.atoms.positions).max(initial=0)
    assert error <= 0.005 + 1e-7 * np.abs(chain.atoms.positions).max(initial=0)
    assert (found.atoms.positions[~chain.atoms.mask] == 0).all()


def test_a_real_chain_keeps_all_its_atoms_within_the_stated_error(mmcif, tmp_path):
    (chain,) = read_entry(mmcif.bpti().write(tmp_path / "a.cif")).chains
    packed = pack(chain.atoms, chain.aatype)
    moved = np.linalg.norm(unpack(packed, chain.aatype).atoms.positions - chain.atoms.atoms.positions, axis=-1)
    assert 0.004 < moved.max() < LARGEST_ERROR < 0.009
    assert len(packed) < 33 * len(chain.sequence)
    assert packed == pack(unpack(packed, chain.aatype), chain.aatype)


def test_damage_is_seen(mmcif, tmp_path):
    (chain,) = read_entry(mmcif.trp_cage().write(tmp_path / "a.cif")).chains
    packed = pack(chain.atoms, chain.aatype)
    for place in range(0, len(packed), 7):
        damaged = bytearray(packed)
        damaged[place] ^= 0x10
        try:
            found = unpack(bytes(damaged), chain.aatype)
        except ValueError:
            continue
        assert pack(found, chain.aatype) == packed  # a bit that has no meaning
    with pytest.raises(ValueError, match="Error -"):
        unpack(packed[:50] + packed[51:], chain.aatype)
    with pytest.raises(ValueError, match=r"expected .* more bytes"):
        unpack(packed, np.tile(chain.aatype, 50))


def test_residue_types_and_their_atoms():
    assert aatype_of("".join(RESTYPES_X)).tolist() == list(range(21))
    assert aatype_of("BZ-").tolist() == [20, 20, 20]
    assert EXPECTED[RESTYPES_X.index("G")].sum() == 4
    assert EXPECTED[RESTYPES_X.index("W")].sum() == 14
    assert EXPECTED[20].sum() == 5
