from __future__ import annotations

import numpy as np

from tilefix_training.evaluation.descriptors import thumbnail


def test_a_thumbnail_ignores_what_is_masked_out() -> None:
    patches = np.random.default_rng(2).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    masks = np.ones((2, 48, 48), np.bool_)
    masks[:, :24] = False
    other = patches.copy()
    other[:, :24] = 0
    np.testing.assert_array_equal(thumbnail(patches, masks), thumbnail(other, masks))
    np.testing.assert_allclose(np.linalg.norm(thumbnail(patches), axis=1), 1.0, atol=1e-5)
