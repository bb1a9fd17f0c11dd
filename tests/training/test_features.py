from __future__ import annotations

import threading

import cv2
import numpy as np
import pytest
import torch

from tilefix.errors import ModelError
from tilefix.preprocess import to_input
from tilefix.types import UInt8Array
from tilefix_training.data.images import PatchImages
from tilefix_training.network.backbone import Backbone, BackboneConfig
from tilefix_training.network.export import preprocessing
from tilefix_training.network.features import centre, describe, extract, network_input

MANIFEST = preprocessing(32, 32)


@pytest.fixture(scope="module")
def network() -> Backbone:
    torch.manual_seed(0)
    made = Backbone(BackboneConfig((1, 1, 1, 1), (8, 16, 24, 32)))
    made(torch.randn(16, 3, 32, 32))  # statistics of the neck that are not those of a new one
    return made.train()


@pytest.fixture(scope="module")
def pictures() -> UInt8Array:
    return np.random.default_rng(0).integers(0, 256, (37, 64, 64, 3), dtype=np.uint8)


class Counted(PatchImages):
    """Counts how often each picture is asked for, and by which thread."""

    def __init__(self, patches: UInt8Array) -> None:
        super().__init__(patches, "counted")
        self.asked: list[int] = []
        self.threads: set[int] = set()

    def __getitem__(self, index: int) -> UInt8Array:
        self.asked.append(index)
        self.threads.add(threading.get_ident())
        return super().__getitem__(index)


def reference(network: Backbone, seen: UInt8Array) -> np.ndarray:
    """Raw descriptors, picture by picture."""
    network.eval()
    with torch.no_grad():
        found = [
            network.descriptors(*network.encode(torch.from_numpy(to_input(p[None], None, MANIFEST))), raw=True)[0]
            for p in seen
        ]
    network.train()
    return torch.stack(found).numpy()


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


@pytest.mark.parametrize("threads", [0, 3])
def test_each_picture_is_described_as_it_would_be_alone(network: Backbone, pictures: UInt8Array, threads: int) -> None:
    middles = np.stack([cv2.resize(p[8:56, 8:56], (32, 32), interpolation=cv2.INTER_AREA) for p in pictures])
    images = Counted(pictures)
    found = extract(network, images, MANIFEST, batch=17, threads=threads)
    assert network.training
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, unit(reference(network, middles)), atol=1e-6)
    assert sorted(images.asked) == list(range(37))
    assert (threading.get_ident() in images.threads) == (threads == 0)
    assert np.array_equal(found, extract(network, pictures, MANIFEST, batch=17))


def test_whole_pictures_are_seen_with_a_margin_of_one(network: Backbone, pictures: UInt8Array) -> None:
    wholes = np.stack([cv2.resize(p, (32, 32), interpolation=cv2.INTER_AREA) for p in pictures])
    found = extract(network, pictures, MANIFEST, margin=1.0, raw=True)
    wanted = reference(network, wholes)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert float(np.abs(np.linalg.norm(wanted, axis=1) - 1).min()) > 0.1
    assert np.array_equal(centre(pictures[0], 64, 1.0), pictures[0])


def test_flip_averages_a_picture_with_its_mirror_image_before_normalising(
    network: Backbone, pictures: UInt8Array
) -> None:
    wholes = np.stack([centre(p, 32, 1.0) for p in pictures])
    mean = (reference(network, wholes) + reference(network, wholes[:, :, ::-1])) / 2
    found = extract(network, pictures, MANIFEST, margin=1.0, flip=True)
    np.testing.assert_allclose(found, unit(mean), atol=1e-6)
    mirrored = extract(network, np.ascontiguousarray(pictures[:, :, ::-1]), MANIFEST, margin=1.0, flip=True)
    np.testing.assert_allclose(found, mirrored, atol=1e-5)


def test_indices_give_rows_in_their_order_and_nothing_is_computed_twice(
    network: Backbone, pictures: UInt8Array
) -> None:
    every = extract(network, pictures, MANIFEST)
    images = Counted(pictures)
    wanted = np.array([5, 3, 5, 36, 3])
    np.testing.assert_allclose(extract(network, images, MANIFEST, indices=wanted), every[wanted], atol=1e-6)
    assert sorted(images.asked) == [3, 5, 36]
    images = Counted(pictures[:4])
    np.testing.assert_allclose(extract(network, images, MANIFEST, threads=2), every[:4], atol=1e-6)
    assert sorted(images.asked) == [0, 1, 2, 3]
    empty = extract(network, images, MANIFEST, indices=np.array([], np.int64))
    assert empty.shape == (0, 32)


def test_a_picture_that_cannot_be_had_ends_it_and_the_networks_mode_is_put_back(
    network: Backbone, pictures: UInt8Array
) -> None:
    class Broken(PatchImages):
        def __getitem__(self, index: int) -> UInt8Array:
            if index == 30:
                raise OSError("gone")
            return super().__getitem__(index)

    for threads in (0, 2):
        with pytest.raises(OSError, match="gone"):
            extract(network, Broken(pictures, "broken"), MANIFEST, batch=8, threads=threads)
        assert network.training


def test_lower_precision_stays_close(network: Backbone, pictures: UInt8Array) -> None:
    full, lower = (extract(network, pictures, MANIFEST, bfloat16=way) for way in (False, True))
    assert not np.array_equal(full, lower)
    assert float((full * lower).sum(axis=1).min()) > 0.99


def test_the_networks_input_is_that_of_flight_to_the_last_bit(pictures: UInt8Array) -> None:
    manifest = preprocessing(64, 32)
    masks = np.random.default_rng(1).random(pictures.shape[:3]) < 0.7
    for mask in (None, masks):
        found = network_input(pictures, mask, manifest)
        assert np.array_equal(found.numpy(), to_input(pictures, mask, manifest))
        assert found.is_contiguous(memory_format=torch.channels_last)
    with pytest.raises(ModelError, match="shape"):
        network_input(pictures, None, MANIFEST)


def test_describe_leaves_masked_ground_aside(network: Backbone, pictures: UInt8Array) -> None:
    seen = np.ascontiguousarray(pictures[:3, :32, :32])
    masks = np.ones((3, 32, 32), np.bool_)
    masks[:, :8] = False
    network.eval()
    with torch.no_grad():
        wanted = network(torch.from_numpy(to_input(seen, masks, MANIFEST))).numpy()
    network.train()
    np.testing.assert_allclose(describe(network, seen, masks, MANIFEST), wanted, atol=1e-6)
    assert not np.allclose(describe(network, seen, None, MANIFEST), wanted, atol=1e-3)
