"""Descriptors of many pictures, without augmentation: what is clustered, and what the memories start from."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tilefix.manifest import ModelManifest
from tilefix.preprocess import check_patches
from tilefix.types import BoolArray, Float32Array, IntArray, UInt8Array
from tilefix_training.data.images import Images, fitted
from tilefix_training.data.patches import MARGIN
from tilefix_training.network.base import Network

BATCH = 128
_CHUNK = 16  # pictures per task of a thread
_AHEAD = 2  # batches made ready


def centre(picture: UInt8Array, patch_px: int, margin: float = MARGIN) -> UInt8Array:
    """What the network sees of a stored picture (s, s, 3) when nothing is shifted: (patch_px, patch_px, 3).

    `margin`: side of the picture over what is seen of it; 1 for the whole.
    """
    side = round(picture.shape[0] / margin)
    start = (picture.shape[0] - side) // 2
    return fitted(picture[start : start + side, start : start + side], patch_px)


def network_input(
    pictures: UInt8Array, masks: BoolArray | None, preprocessing: ModelManifest, device: torch.device | str = "cpu"
) -> Tensor:
    """What `tilefix.preprocess.to_input` gives, the same to the last bit, on `device` and stored channels last.

    Pictures travel as bytes, a quarter of the size. Raises `ModelError` on a wrong shape or type.
    """
    check_patches(pictures, masks, preprocessing.patch_px)
    mean, std = np.asarray(preprocessing.mean, np.float32), np.asarray(preprocessing.std, np.float32)
    scale, shift = ((torch.from_numpy(v).view(1, 3, 1, 1).to(device)) for v in (1.0 / (255.0 * std), mean / std))
    values = torch.from_numpy(np.ascontiguousarray(pictures)).to(device).permute(0, 3, 1, 2).float()
    values.mul_(scale).sub_(shift)
    return values if masks is None else values.mul_(torch.from_numpy(masks).to(device).unsqueeze(1))


def describe(
    network: Network, patches: UInt8Array, masks: BoolArray | None, preprocessing: ModelManifest
) -> Float32Array:
    """Descriptors float32 (n, d) of patches uint8 (n, p, p, 3), in evaluation mode; the mode is put back after."""
    parts = [slice(start, start + BATCH) for start in range(0, len(patches), BATCH)]
    batches = ((np.asarray(patches[part]), None if masks is None else masks[part]) for part in parts)
    return _run(network, batches, len(patches), preprocessing, flip=False, raw=False, bfloat16=False, device=None)


def extract(
    network: Network,
    images: Images | UInt8Array,
    preprocessing: ModelManifest,
    *,
    margin: float = MARGIN,
    flip: bool = False,
    raw: bool = False,
    bfloat16: bool = False,
    device: torch.device | None = None,
    indices: IntArray | None = None,
    batch: int = BATCH,
    threads: int = 0,
) -> Float32Array:
    """Descriptors float32 (n, d) of the middles of stored pictures (n, s, s, 3).

    Evaluation mode; the mode is put back after. No picture is computed twice, be it named twice in `indices`.
    `margin`: see `centre`. `flip`: the mean of the picture's descriptor and that of its mirror image, taken before the
    L2 normalisation. `raw`: without that normalisation. `bfloat16`: computed under autocast. `device`: that of the
    network unless given. `indices`: the pictures wanted, in this order; all unless given. `threads` decode the next
    batches meanwhile.
    """
    wanted = np.arange(len(images)) if indices is None else np.asarray(indices, np.int64)
    distinct, place = np.unique(wanted, return_inverse=True)

    def load(chunk: IntArray) -> UInt8Array:
        return np.stack([centre(np.asarray(images[int(i)]), preprocessing.patch_px, margin) for i in chunk])

    ready = _prefetched([distinct[start : start + batch] for start in range(0, len(distinct), batch)], load, threads)
    pictures = ((picture, None) for picture in ready)
    values = _run(network, pictures, len(distinct), preprocessing, flip=flip, raw=raw, bfloat16=bfloat16, device=device)
    return values if len(place) == len(values) and (place == np.arange(len(place))).all() else values[place]


def _run(
    network: Network,
    batches: Iterator[tuple[UInt8Array, BoolArray | None]],
    count: int,
    preprocessing: ModelManifest,
    *,
    flip: bool,
    raw: bool,
    bfloat16: bool,
    device: torch.device | None,
) -> Float32Array:
    device = device or next(network.parameters()).device
    found = np.empty((count, network.descriptor_dim), np.float32)
    training = network.training
    network.eval()
    start = 0
    try:
        for pictures, masks in batches:
            x = network_input(pictures, masks, preprocessing, device)
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
                values = network.descriptors(*network.encode(x), raw=True)
                if flip:
                    values = (values + network.descriptors(*network.encode(x.flip(3)), raw=True)) / 2
                values = values.float() if raw else F.normalize(values.float(), dim=1)
            found[start : start + len(pictures)] = values.cpu().numpy()
            start += len(pictures)
    finally:
        network.train(training)
    return found


def _prefetched(batches: list[IntArray], load: Callable[[IntArray], UInt8Array], threads: int) -> Iterator[UInt8Array]:
    """`load` of each batch, in order, the next ones made ready by threads."""
    if threads < 1:
        yield from (load(batch) for batch in batches)
        return
    waiting: deque[list[Future[Any]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="extract") as pool:
        try:
            for batch in batches:
                chunks = [batch[start : start + _CHUNK] for start in range(0, len(batch), _CHUNK)]
                waiting.append([pool.submit(load, chunk) for chunk in chunks])
                if len(waiting) > _AHEAD:
                    yield np.concatenate([part.result() for part in waiting.popleft()])
            while waiting:
                yield np.concatenate([part.result() for part in waiting.popleft()])
        finally:
            for parts in waiting:
                for part in parts:
                    part.cancel()
