"""Golden: pLDDT, PAE and pTM of the published code for random logits; and laws."""

from pathlib import Path

import numpy as np

from models import confidence

GOLDEN = dict(np.load(Path(__file__).parent / "golden" / "losses.npz", allow_pickle=False))
EDGES = np.linspace(0, 31, 63)
PAE_LOGITS, PLDDT_LOGITS = GOLDEN["pae_logits"] / 100.0, GOLDEN["plddt_logits"] / 100.0


def test_golden():
    np.testing.assert_allclose(confidence.plddt(PLDDT_LOGITS), GOLDEN["plddt"], rtol=1e-6)
    np.testing.assert_allclose(confidence.predicted_aligned_error(PAE_LOGITS, EDGES), GOLDEN["pae"], rtol=1e-6)
    np.testing.assert_allclose(confidence.predicted_tm_score(PAE_LOGITS, EDGES), GOLDEN["ptm"], rtol=1e-7)
    mask = (np.arange(len(PAE_LOGITS)) < len(PAE_LOGITS) - 6).astype(float)
    np.testing.assert_allclose(confidence.predicted_tm_score(PAE_LOGITS, EDGES, mask), GOLDEN["ptm_masked"], rtol=1e-7)


def test_limits():
    sure = np.zeros((23, 23, 64))
    sure[..., 0] = 1000  # no overflow
    assert confidence.predicted_tm_score(sure, EDGES) > 0.8
    np.testing.assert_allclose(confidence.predicted_aligned_error(sure, EDGES), 0.25)
    lost = sure[..., ::-1]
    assert confidence.predicted_tm_score(lost, EDGES) < 0.01
    np.testing.assert_allclose(confidence.predicted_aligned_error(lost, EDGES), 31.75)
    np.testing.assert_allclose(confidence.plddt(np.zeros((3, 50))), 50)


def test_permuting_residues_permutes_confidence():
    order = np.random.default_rng(3).permutation(len(PAE_LOGITS))
    permuted = PAE_LOGITS[order][:, order]
    pae = confidence.predicted_aligned_error(PAE_LOGITS, EDGES)
    np.testing.assert_allclose(confidence.predicted_aligned_error(permuted, EDGES), pae[order][:, order])
    score = confidence.predicted_tm_score(PAE_LOGITS, EDGES)
    np.testing.assert_allclose(confidence.predicted_tm_score(permuted, EDGES), score)
