"""On a real GPU: engines built and checked there, latency, failures. Latency is printed (`pytest -s`), never asserted.

What has to pass on a Jetson before the engine flies there; see docs/engine.md.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tilefix.embedders import open_embedder, open_model_files
from tilefix.embedders.device import ADAPTERS, Device, open_device
from tilefix.embedders.tensorrt import TensorRTEmbedder
from tilefix.engine.build import build_engine
from tilefix.engine.calibration import Patches
from tilefix.engine.check import FP16, INT8
from tilefix.engine.heldout import held_out_worlds
from tilefix.engine.pixels import PIXELS
from tilefix.engine.quantize import quantize
from tilefix.engine.runtime import load_tensorrt
from tilefix.errors import EngineError
from tilefix.manifest import load_manifest

pytestmark = pytest.mark.device

FRAMES = 1000


def say(text: str) -> None:
    """Prints a measurement, for `pytest -s`."""
    sys.stdout.write(text + "\n")


@pytest.fixture(scope="module", autouse=True)
def gpu() -> None:
    """Skips the module, with the reason, where there is no GPU or no TensorRT."""
    pytest.importorskip("onnx", reason="an engine is made of an ONNX graph: pip install 'tilefix[engine]'")
    try:
        load_tensorrt()
        open_device().close()
    except EngineError as error:
        pytest.skip(str(error))


@pytest.fixture(params=list(ADAPTERS))
def device(request: pytest.FixtureRequest) -> Iterator[Device]:
    module, name = ADAPTERS[request.param]
    try:
        adapter = getattr(importlib.import_module(module), name)
    except ImportError as error:
        pytest.skip(f"{request.param} is not installed: {error}")
    found = adapter()
    yield found
    found.close()


@pytest.fixture(scope="module")
def int8_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    manifest, _ = open_model_files(None)
    (world,) = held_out_worlds(manifest, seeds=(1900,), queries=64)
    tiles = Patches(
        np.concatenate([world.tiles[::2], world.patches]),
        np.concatenate([np.ones(world.tiles[::2].shape[:3], np.bool_), world.masks]),
    )
    return quantize(None, tiles, tmp_path_factory.mktemp("int8") / "tilefix-s-int8.onnx").file


@pytest.fixture(scope="module", params=["fp16", "int8"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built here; building it checks its descriptors against the FP32 model's, and fails beyond the limits."""
    model = request.getfixturevalue("int8_model") if request.param == "int8" else None
    folder = tmp_path_factory.mktemp("engine")
    out = folder / f"tilefix-s-{request.param}.engine"
    built = build_engine(model, request.param, out, timing_cache=folder / "timings")
    assert built.agreement.cosine_min >= {"fp16": FP16, "int8": INT8}[request.param].cosine
    say(f"\n{request.param}: {built.size_bytes / 2**20:.1f} MiB in {built.build_s:.0f} s, {built.fingerprint}")
    say(f"{request.param}: {built.agreement}")
    return out


def patch(seed: int = 0, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    side = open_model_files(None)[0].patch_px
    rng = np.random.default_rng([seed, count])
    return rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8), rng.random((count, side, side)) < 0.9


def test_bytes_come_back_as_they_went(device: Device) -> None:
    size_bytes = 300_000
    with device.active():
        stream, there = device.stream(), device.device_memory(size_bytes)
        sent, back = device.host_memory(size_bytes), device.host_memory(size_bytes)
        sent.array[:] = np.random.default_rng(0).integers(0, 256, size_bytes, dtype=np.uint8)
        back.array[:] = 0

        def round_trip() -> None:
            stream.copy_in(there, sent, size_bytes)
            stream.copy_out(back, there, size_bytes)

        round_trip()
        stream.synchronize()
        np.testing.assert_array_equal(back.array, sent.array)
        try:
            graph = stream.capture(round_trip)
        except EngineError as error:
            say(f"\nno graph: {error}")
        else:
            sent.array[:] = 7
            stream.launch(graph)
            stream.synchronize()
            np.testing.assert_array_equal(back.array, 7)
            graph.close()
        for made in (stream, there, sent, back):
            made.close()
            made.close()


def test_what_the_gpu_cannot_allocate_is_refused(device: Device) -> None:
    with device.active():
        with pytest.raises(EngineError, match="allocate"):
            device.device_memory(1 << 46)
        device.device_memory(1 << 20).close()  # and it goes on


def test_descriptors_do_not_depend_on_graphs_or_on_the_batch(engine: Path) -> None:
    manifest = load_manifest(engine.with_suffix(".json"))
    patches, masks = patch(count=5)
    with TensorRTEmbedder(manifest, engine) as with_graphs, TensorRTEmbedder(manifest, engine, graphs=False) as without:
        alone = [with_graphs.embed(patches[:1], masks[:1]) for _ in range(4)]
        for found in alone:
            np.testing.assert_array_equal(found, alone[0])
        np.testing.assert_allclose(without.embed(patches[:1], masks[:1]), alone[0], atol=1e-3)
        together = with_graphs.embed(np.concatenate([patches] * 9), np.concatenate([masks] * 9))
        assert (together[0] * alone[0][0]).sum() > 0.999


def test_a_refused_enqueue_costs_its_frame_and_no_other(engine: Path) -> None:
    with TensorRTEmbedder(load_manifest(engine.with_suffix(".json")), engine, graphs=False) as embedder:
        wanted = embedder.embed(*patch())
        embedder._context.set_tensor_address(PIXELS, 0)
        with pytest.raises(EngineError):
            embedder.embed(*patch())
        assert embedder._context.set_tensor_address(PIXELS, embedder._pixels.there.address)
        np.testing.assert_array_equal(embedder.embed(*patch()), wanted)


@pytest.mark.parametrize("graphs", [False, True])
def test_latency_is_printed(engine: Path, graphs: bool) -> None:
    frames = [patch(seed) for seed in range(8)]
    with TensorRTEmbedder(load_manifest(engine.with_suffix(".json")), engine, graphs=graphs) as embedder:
        for number in range(50):
            embedder.embed(*frames[number % 8])
        took_ms = np.zeros(FRAMES)
        for number in range(FRAMES):
            begun_ns = time.perf_counter_ns()
            embedder.embed(*frames[number % 8])
            took_ms[number] = (time.perf_counter_ns() - begun_ns) / 1e6
    p50, p99 = np.percentile(took_ms, [50, 99])
    how = "with" if graphs else "without"
    say(f"\n{engine.stem} {how} graphs: p50 {p50:.3f} ms, p99 {p99:.3f} ms, longest {took_ms.max():.3f} ms")


def test_opening_by_the_model_finds_the_engine(engine: Path) -> None:
    with closing(open_embedder(engine)) as embedder:
        assert embedder.manifest.identity == open_model_files(None)[0].sha256
