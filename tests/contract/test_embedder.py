"""What every `Embedder` promises, whichever runtime it stands on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.engines import engine_of, fake_machine
from tilefix.embedders import open_embedder
from tilefix.errors import ModelError
from tilefix.ports import Embedder

Opened = Callable[[], Embedder]


@pytest.fixture(scope="module", params=["onnx", "openvino", "thumbnail", "tensorrt"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    """What opens the embedder. `tensorrt`: the adapter on a GPU that keeps CUDA's rules, whose engines are ONNX
    Runtime's."""
    if request.param == "onnx":
        yield partial(open_embedder, provider="onnxruntime")
    elif request.param == "openvino":
        pytest.importorskip("openvino", reason="the extra openvino is not installed")
        yield partial(open_embedder, provider="openvino")
    elif request.param == "thumbnail":
        yield ThumbnailEmbedder
    else:
        pytest.importorskip("onnx", reason="an engine is made of an ONNX graph")
        with pytest.MonkeyPatch.context() as monkeypatch:
            fake_machine(monkeypatch)
            yield partial(open_embedder, engine_of(None, tmp_path_factory.mktemp("engine")))


@pytest.fixture(scope="module")
def embedder(opened: Opened) -> Iterator[Embedder]:
    with closing(opened()) as found:
        yield found


@pytest.fixture
def patches(embedder: Embedder) -> np.ndarray:
    side = embedder.manifest.patch_px
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    return np.repeat(np.repeat(coarse, side // 8, axis=1), side // 8, axis=2)


def test_descriptors_have_the_manifests_length_and_norm_one(embedder: Embedder, patches: np.ndarray) -> None:
    found = embedder.embed(patches)
    assert found.shape == (5, embedder.manifest.descriptor_dim)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


def test_different_patches_have_different_descriptors(embedder: Embedder, patches: np.ndarray) -> None:
    similarity = embedder.embed(patches) @ embedder.embed(patches).T
    assert (similarity - 2 * np.eye(5)).max() < 0.999


def test_the_same_patches_give_the_same_bytes(embedder: Embedder, patches: np.ndarray) -> None:
    assert embedder.embed(patches).tobytes() == embedder.embed(patches.copy()).tobytes()


def test_a_descriptor_does_not_depend_on_its_batch(embedder: Embedder, patches: np.ndarray) -> None:
    many = np.tile(patches, (9, 1, 1, 1))  # more than one call of the runtime
    together = embedder.embed(many)
    alone = np.concatenate([embedder.embed(many[i : i + 1]) for i in (0, 33, 44)])
    np.testing.assert_allclose(together[[0, 33, 44]], alone, atol=1e-5)


def test_what_is_masked_out_does_not_count(embedder: Embedder, patches: np.ndarray) -> None:
    masks = np.ones(patches.shape[:3], np.bool_)
    masks[:, :, : masks.shape[2] // 2] = False
    other = patches.copy()
    other[~masks] = 255 - other[~masks]
    np.testing.assert_array_equal(embedder.embed(patches, masks), embedder.embed(other, masks))
    assert np.abs(embedder.embed(patches) - embedder.embed(other)).max() > 1e-3


def test_full_masks_are_as_good_as_none(embedder: Embedder, patches: np.ndarray) -> None:
    masks = np.ones(patches.shape[:3], np.bool_)
    np.testing.assert_array_equal(embedder.embed(patches, masks), embedder.embed(patches))


def test_descriptors_stay_finite_without_ground_or_contrast(embedder: Embedder, patches: np.ndarray) -> None:
    for found in (
        embedder.embed(patches, np.zeros(patches.shape[:3], np.bool_)),
        embedder.embed(np.full_like(patches, 128)),
    ):
        assert np.isfinite(found).all()


def test_no_patches_give_no_descriptors(embedder: Embedder, patches: np.ndarray) -> None:
    assert embedder.embed(patches[:0]).shape == (0, embedder.manifest.descriptor_dim)


def test_wrong_patches_and_masks_are_refused(embedder: Embedder, patches: np.ndarray) -> None:
    for wrong in (patches.astype(np.float32), patches[0], patches[:, 1:], patches[..., :1]):
        with pytest.raises(ModelError):
            embedder.embed(wrong)
    for mask in (np.ones(patches.shape[:3], np.uint8), np.ones((5, 2, 2), np.bool_), np.ones((4, 64, 64), np.bool_)):
        with pytest.raises(ModelError):
            embedder.embed(patches, mask)  # type: ignore[arg-type]


def test_what_was_given_is_not_overwritten_by_the_next_call(embedder: Embedder, patches: np.ndarray) -> None:
    first = embedder.embed(patches[:1])
    before = first.copy()
    embedder.embed(patches[1:])
    np.testing.assert_array_equal(first, before)


def test_a_closed_embedder_embeds_nothing_and_may_be_closed_again(opened: Opened, patches: np.ndarray) -> None:
    embedder = opened()
    embedder.embed(patches)
    embedder.close()
    for count in (0, 5):
        with pytest.raises(ModelError, match="is closed"):
            embedder.embed(patches[:count])
    embedder.close()
    assert embedder.manifest.patch_px == patches.shape[1]
