"""Whether two embedders describe alike: what is measured, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from tilefix.engine.check import FP16, INT8, Agreement, Limits, Yardstick, compare
from tilefix.engine.heldout import HeldOut, held_out_worlds
from tilefix.errors import ModelError
from tilefix.manifest import ModelManifest
from tilefix.types import BoolArray, Float32Array, UInt8Array

REFERENCE = ThumbnailEmbedder(patch_px=16, side=8)
PATCHES = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)


class Worse:
    """The reference's descriptors with noise of a given size on some of its patches."""

    def __init__(self, noise: float, *, every: int = 1) -> None:
        self._noise, self._every = noise, every
        self.manifest: ModelManifest = REFERENCE.manifest

    def embed(self, patches: UInt8Array, masks: BoolArray | None = None) -> Float32Array:
        found = REFERENCE.embed(patches, masks)
        noise = np.random.default_rng(1).standard_normal(found.shape) / np.sqrt(found.shape[1])
        noise[np.arange(len(found)) % self._every != 0] = 0.0
        found = found + self._noise * noise
        return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def held_out() -> tuple[HeldOut, ...]:
    return held_out_worlds(REFERENCE.manifest, seeds=(1990,), queries=20)


def test_an_embedder_agrees_with_itself(held_out: tuple[HeldOut, ...]) -> None:
    found = compare(REFERENCE, REFERENCE, PATCHES, held_out=held_out, limits=Limits(0.999999, 0.0))
    assert found.cosine_min == pytest.approx(1.0, abs=1e-6)
    assert (found.recall_lost_points, found.localisation_lost_points) == (0.0, 0.0)
    assert (found.patches, found.queries) == (12 + len(held_out[0].tiles) + 20, 20)


def test_one_patch_that_is_described_otherwise_is_enough(held_out: tuple[HeldOut, ...]) -> None:
    worse = Worse(0.5, every=12)
    found = Yardstick(REFERENCE, PATCHES).agreement(worse)
    assert found.cosine_median == pytest.approx(1.0, abs=1e-6)
    assert found.cosine_min < 0.95
    with pytest.raises(ModelError, match=r"cosine 0\.\d+ is below 0\.98"):
        compare(REFERENCE, worse, PATCHES)


def test_what_is_no_longer_found_counts(held_out: tuple[HeldOut, ...]) -> None:
    found = Yardstick(REFERENCE, held_out=held_out).agreement(Worse(20.0))
    assert found.recall_lost_points > 10.0
    with pytest.raises(ModelError, match=r"recall is \d+\.\d points worse, more than 1"):
        compare(REFERENCE, Worse(20.0), held_out=held_out, limits=Limits(cosine=-1.0))


def test_what_is_found_in_addition_is_no_fault(held_out: tuple[HeldOut, ...]) -> None:
    found = Yardstick(Worse(20.0), held_out=held_out).agreement(REFERENCE)
    assert found.recall_lost_points < 0.0
    assert not found.beyond(Limits(cosine=-1.0))


def test_descriptors_that_tell_nothing_apart_find_nothing(held_out: tuple[HeldOut, ...]) -> None:
    class Same(Worse):
        def embed(self, patches: UInt8Array, masks: BoolArray | None = None) -> Float32Array:
            return np.tile(np.eye(1, 64, dtype=np.float32), (len(patches), 1))

    best = Yardstick(REFERENCE, held_out=held_out).agreement(Same(0.0))
    assert best.recall_lost_points > 50.0
    assert best.localisation_lost_points > 20.0


def test_limits_hold_at_their_value_and_not_beyond() -> None:
    at = Agreement(0.98, 1.0, 1.0, 1.0, 10, 10)
    assert not at.beyond(INT8)
    assert "cosine" in at.beyond(FP16)
    for worse in (
        replace(at, cosine_min=0.9799),
        replace(at, cosine_min=float("nan")),
        replace(at, recall_lost_points=1.5),
        replace(at, localisation_lost_points=1.5),
        replace(at, localisation_lost_points=float("nan")),
    ):
        assert worse.beyond(INT8)


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ModelError, match="no patch"):
        Yardstick(REFERENCE)


def test_held_out_maps_are_the_same_every_time(held_out: tuple[HeldOut, ...]) -> None:
    (again,) = held_out_worlds(REFERENCE.manifest, seeds=(1990,), queries=20)
    (one,) = held_out
    for name in ("tiles", "centres_m", "patches", "masks", "places_m"):
        np.testing.assert_array_equal(getattr(again, name), getattr(one, name))
    assert one.patches.shape == (20, 16, 16, 3)
    assert 0.2 < one.masks.mean() < 0.95  # a footprint, turned, in its north-up square
    assert np.abs(one.places_m).max() < np.abs(one.centres_m).max() + one.hit_m


def test_the_place_of_a_patch_is_where_its_ground_lies(held_out: tuple[HeldOut, ...]) -> None:
    found = Yardstick(REFERENCE, held_out=held_out).found
    assert found[-2] > 0.4  # among the first 10 of 256; about 0.2 by chance


def test_a_model_of_other_scales_gets_worlds_of_its_scale_or_a_refusal() -> None:
    wide = replace(REFERENCE.manifest, patch_m_min=150.0, patch_m_max=500.0)
    assert held_out_worlds(wide, seeds=(1990,), queries=1)[0].patch_m == 150.0
    with pytest.raises(ModelError, match="2000 to 4000 m, generated worlds have"):
        held_out_worlds(replace(wide, patch_m_min=2000.0, patch_m_max=4000.0))
