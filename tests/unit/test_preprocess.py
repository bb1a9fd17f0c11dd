from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from tilefix.errors import ModelError
from tilefix.preprocess import to_input

MANIFEST = replace(ThumbnailEmbedder(patch_px=16).manifest, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def test_values_are_pixels_over_255_less_mean_over_std_channel_first() -> None:
    patches = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    values = to_input(patches, None, MANIFEST)
    assert values.dtype == np.float32
    assert values.shape == (2, 3, 16, 16)
    assert values.flags.c_contiguous
    for channel in range(3):
        wanted = (patches[1, 5, 7, channel] / 255.0 - MANIFEST.mean[channel]) / MANIFEST.std[channel]
        assert values[1, channel, 5, 7] == pytest.approx(wanted, abs=1e-5)


def test_masked_pixels_become_the_mean_colour_and_no_other_does() -> None:
    shades = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    patches = np.repeat(shades, 3, axis=3)
    masks = np.ones((1, 16, 16), np.bool_)
    masks[0, 3:6] = False
    values = to_input(patches, masks, MANIFEST)
    np.testing.assert_array_equal((values == 0.0).all(axis=1), ~masks)


def test_the_patches_given_stay_as_they_are() -> None:
    patches = np.full((1, 16, 16, 3), 7, np.uint8)
    to_input(patches, np.zeros((1, 16, 16), np.bool_), MANIFEST)
    assert (patches == 7).all()


def test_a_wrong_shape_or_type_is_refused_with_what_is_wanted() -> None:
    patches = np.zeros((2, 16, 16, 3), np.uint8)
    with pytest.raises(ModelError, match=r"\(n, 16, 16, 3\)"):
        to_input(patches[:, :8], None, MANIFEST)
    with pytest.raises(ModelError, match="uint8 array, not float64"):
        to_input(patches.astype(float), None, MANIFEST)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="uint8 array, not list"):
        to_input([[0]], None, MANIFEST)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"\(1, 16, 16\).*\(2, 16, 16\)"):
        to_input(patches, np.ones((1, 16, 16), np.bool_), MANIFEST)
    with pytest.raises(ModelError, match="bool array, not uint8"):
        to_input(patches, np.ones((2, 16, 16), np.uint8), MANIFEST)  # type: ignore[arg-type]


def written_out(patches: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
    """The same arithmetic in float32, one whole array a step: what models were trained on, bit for bit."""
    mean, std = np.asarray(MANIFEST.mean, np.float32), np.asarray(MANIFEST.std, np.float32)
    values = np.moveaxis(patches, 3, 1).astype(np.float32, order="C")
    values *= (1.0 / (255.0 * std)).reshape(1, 3, 1, 1)
    values -= (mean / std).reshape(1, 3, 1, 1)
    return values if masks is None else values * masks[:, None]


@pytest.mark.parametrize("kind", ["none", "full", "partial", "empty"])
@pytest.mark.parametrize("given", [False, True])
def test_every_path_gives_the_same_bits(kind: str, given: bool) -> None:
    rng = np.random.default_rng(4)
    patches = rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)[:, ::-1]
    chosen = {"none": None, "full": np.ones, "partial": lambda *a: rng.random(a[0]) < 0.5, "empty": np.zeros}[kind]
    masks = None if chosen is None else chosen((3, 16, 16), np.bool_)
    out = np.full((3, 3, 16, 16), np.nan, np.float32) if given else None
    values = to_input(patches, masks, MANIFEST, out=out)
    assert out is None or values is out
    assert values.tobytes() == written_out(patches, masks).tobytes()


@pytest.mark.parametrize("out", [np.empty((2, 3, 16, 16)), np.empty((1, 3, 16, 16), np.float32)])
def test_a_buffer_that_does_not_fit_is_refused(out: np.ndarray) -> None:
    with pytest.raises(ModelError, match="out is"):
        to_input(np.zeros((2, 16, 16, 3), np.uint8), None, MANIFEST, out=out)
