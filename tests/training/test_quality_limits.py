"""The limits of the torsions: how they are measured."""

import numpy as np
import pytest

from models import residue_constants as rc
from training import quality_limits


def test_only_sharp_structures_count(tmp_path, capsys):
    chains(tmp_path / "chains.npz", [1.5, 3.0, np.nan])
    share = quality_limits.rotamer_share(tmp_path / "chains.npz")
    assert 0.1 < share < 1  # atoms that lie anywhere make unusual side chains
    assert quality_limits.main(["--allatom", str(tmp_path / "chains.npz")]) == 0
    assert capsys.readouterr().out == f"rotamer outliers at 1.8 A or better: {share:.4f}\n"
    chains(tmp_path / "one.npz", [1.5])
    assert share == pytest.approx(quality_limits.rotamer_share(tmp_path / "one.npz"))


def test_a_limit_leaves_out_as_many_residues_as_the_other_maps(tmp_path, monkeypatch):
    phi, psi = np.random.default_rng(5).uniform(-180, 180, (2, 1000))
    monkeypatch.setattr(quality_limits, "EVERY", 1)
    monkeypatch.setattr(quality_limits, "chain_torsions", lambda dump, chains: (np.arange(1000) % 6, phi, psi))
    monkeypatch.setattr(quality_limits, "molprobity_scores", lambda *_: np.where(np.arange(1000) < 500, 0.0, 1.0))
    monkeypatch.setattr(quality_limits.ramachandran, "scores", lambda *_: np.linspace(0, 1, 1000))
    np.save(tmp_path / "ids.npy", np.array(["1ABC_A"]))
    lines = list(quality_limits.ramachandran_limits(tmp_path, tmp_path))
    assert len(lines) == 6
    assert "general: 167 residues, favoured from 0.50" in lines[0]


@pytest.mark.parametrize("given", ["--dump", "--cctbx"])
def test_half_of_what_the_maps_need_is_refused(tmp_path, capsys, given):
    with pytest.raises(SystemExit) as error:
        quality_limits.main(["--allatom", str(tmp_path / "chains.npz"), given, str(tmp_path)])
    assert error.value.code == 2
    assert "give --dump and --cctbx, or neither" in capsys.readouterr().err


def chains(path, resolutions):
    """Write a chain with every residue type for each resolution, the first chain's atoms always the same."""
    rng = np.random.default_rng(3)
    count = len(resolutions)
    aatype = np.tile(np.arange(20), 11 * count).astype(np.int8)
    mask = rc.ATOM37_MASK[aatype] > 0
    np.savez(
        path,
        length=np.full(count, 220, np.int32),
        aatype=aatype,
        residue_index=np.tile(np.arange(220, dtype=np.int32), count),
        atom37_mask=np.packbits(mask),
        atom37_positions=rng.integers(-900, 900, (int(mask.sum()), 3)).astype(np.int16),
        resolution=np.array(resolutions, np.float32),
    )
