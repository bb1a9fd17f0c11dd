"""The TensorRT embedder on a GPU that keeps CUDA's rules: timing, memory, failures, release. See support.fakecuda."""

from __future__ import annotations

import gc
import logging
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.engines import fake_machine, small_engine
from support.fakecuda import FakeCuda, Stream, Work
from support.faketensorrt import FakeTensorRT
from tilefix.embedders import open_embedder
from tilefix.embedders.tensorrt import TensorRTEmbedder
from tilefix.errors import EngineError, ModelError
from tilefix.manifest import load_manifest

pytest.importorskip("onnx")

LARGE_BYTES = 64 * 1024


@pytest.fixture(params=["pycuda", "cuda-bindings"])
def package(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, package: str) -> tuple[FakeCuda, FakeTensorRT]:
    return fake_machine(monkeypatch, package=package)


@pytest.fixture
def cuda(machine: tuple[FakeCuda, FakeTensorRT]) -> FakeCuda:
    return machine[0]


@pytest.fixture
def trt(machine: tuple[FakeCuda, FakeTensorRT]) -> FakeTensorRT:
    return machine[1]


@pytest.fixture
def engine(tmp_path: Path, trt: FakeTensorRT) -> Path:
    return small_engine(tmp_path)


@pytest.fixture
def embedder(engine: Path) -> Iterator[TensorRTEmbedder]:
    found = open_embedder(engine)
    assert isinstance(found, TensorRTEmbedder)
    with found:
        yield found


def patches_of(count: int, side: int = 64, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, count, side])
    return rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8), rng.random((count, side, side)) < 0.9


def test_descriptors_are_the_onnx_files(embedder: TensorRTEmbedder, engine: Path) -> None:
    wanted = open_embedder(engine.with_name("small.onnx"))
    for count in (1, 1, 1, 3, 1, 33, 70, 1):  # as graphs come and go; more than a batch, and its rest
        patches, masks = patches_of(count, seed=count)
        np.testing.assert_allclose(embedder.embed(patches, masks), wanted.embed(patches, masks), atol=1e-6)
        np.testing.assert_allclose(embedder.embed(patches), wanted.embed(patches), atol=1e-6)


def test_what_was_given_out_stays_as_it_was(embedder: TensorRTEmbedder) -> None:
    first = embedder.embed(*patches_of(1, seed=1))
    kept = first.copy()
    embedder.embed(*patches_of(1, seed=2))
    np.testing.assert_array_equal(first, kept)


def test_a_batch_size_seen_before_runs_as_one_graph(embedder: TensorRTEmbedder, cuda: FakeCuda, package: str) -> None:
    calls = []
    for _ in range(4):
        cuda.calls.clear()
        embedder.embed(*patches_of(1))
        calls.append(list(cuda.calls))
    chain = ["copy_in", "copy_in", "kernel", "copy_out"]
    if package == "pycuda":  # which has no graphs
        assert calls == [chain] * 4
    else:
        assert calls == [chain, [*chain, "launch"], ["launch"], ["launch"]]  # run, captured, launched
    embedder.embed(*patches_of(2))
    assert sum(isinstance(item, Work) for item in cuda.live.values()) == 0  # the graph went with its shapes


def test_without_graphs_every_call_is_enqueued(engine: Path, cuda: FakeCuda) -> None:
    with TensorRTEmbedder(load_manifest(engine.with_suffix(".json")), engine, graphs=False) as embedder:
        for _ in range(3):
            embedder.embed(*patches_of(1))
    assert "launch" not in cuda.calls


def test_a_device_that_cannot_capture_goes_on_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cuda, _ = fake_machine(monkeypatch, graphs=False)
    engine = small_engine(tmp_path)
    with caplog.at_level(logging.INFO), TensorRTEmbedder(load_manifest(engine.with_suffix(".json")), engine) as one:
        found = [one.embed(*patches_of(1)) for _ in range(4)]
    assert "launch" not in cuda.calls
    assert sum("no CUDA graph" in record.message for record in caplog.records) == 1
    np.testing.assert_array_equal(found[0], found[3])


@pytest.mark.parametrize("failure", ["enqueue", "kernel", "copy_in", "copy_out", "launch", "capture"])
@pytest.mark.parametrize("frame", [0, 1, 3])
def test_a_failed_call_costs_its_frame_and_no_other(
    embedder: TensorRTEmbedder, cuda: FakeCuda, trt: FakeTensorRT, failure: str, frame: int
) -> None:
    patches, masks = patches_of(1)
    wanted = embedder.embed(patches, masks)
    live = {key for key, item in cuda.live.items() if not isinstance(item, Work)}
    embedder.embed(*patches_of(2))
    for number in range(8):
        if number == frame:
            (trt.fail if failure in ("enqueue", "kernel") else cuda.fail).append(failure)
            with suppress(EngineError):  # a failed capture costs nothing
                np.testing.assert_array_equal(embedder.embed(patches, masks), wanted)
            trt.fail.clear()
            cuda.fail.clear()
            assert not any(stream.begun for stream in cuda.live.values() if isinstance(stream, Stream))
        else:
            np.testing.assert_array_equal(embedder.embed(patches, masks), wanted)
    assert cuda.depth() == 0
    assert {key for key, item in cuda.live.items() if not isinstance(item, Work)} == live


def test_after_a_failure_nothing_is_taken_for_granted(
    embedder: TensorRTEmbedder, cuda: FakeCuda, trt: FakeTensorRT
) -> None:
    for _ in range(3):
        embedder.embed(*patches_of(1))
    trt.fail.append("kernel")
    with pytest.raises(EngineError):
        embedder.embed(*patches_of(1))
    cuda.calls.clear()
    embedder.embed(*patches_of(1))
    assert cuda.calls == ["copy_in", "copy_in", "kernel", "copy_out"]  # shapes set anew, no graph of before


def test_a_failure_says_what_the_runtime_said(embedder: TensorRTEmbedder, trt: FakeTensorRT) -> None:
    trt.fail.append("enqueue")
    with pytest.raises(EngineError, match="illegal memory access"):
        embedder.embed(*patches_of(1))
    trt.fail.append("kernel")
    with pytest.raises(EngineError, match="CUDA_ERROR_ILLEGAL_ADDRESS"):
        embedder.embed(*patches_of(1))


def test_values_that_are_not_finite_are_refused(embedder: TensorRTEmbedder, trt: FakeTensorRT) -> None:
    trt.noise = np.inf
    with pytest.raises(EngineError, match="not finite"):
        embedder.embed(*patches_of(1))
    trt.noise = 0.0
    assert np.isfinite(embedder.embed(*patches_of(1))).all()


def test_closing_frees_everything_once(engine: Path, cuda: FakeCuda, trt: FakeTensorRT) -> None:
    embedder = TensorRTEmbedder(load_manifest(engine.with_suffix(".json")), engine)
    for count in (1, 1, 5):
        embedder.embed(*patches_of(count))
    assert cuda.live
    embedder.close()
    embedder.close()
    assert (cuda.live, cuda.retained, trt.live, cuda.depth()) == ({}, 0, [], 0)
    with pytest.raises(EngineError, match="closed"):
        embedder.embed(*patches_of(1))


def test_closing_under_a_call_that_does_not_end_frees_nothing_beneath_it(
    engine: Path, cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("tilefix.embedders.tensorrt._CLOSE_S", 0.05)
    embedder = TensorRTEmbedder(load_manifest(engine.with_suffix(".json")), engine)
    begun, go_on, run = threading.Event(), threading.Event(), embedder._run
    found: list[np.ndarray] = []

    def slow(count: int) -> None:
        begun.set()
        assert go_on.wait(30.0)
        run(count)

    monkeypatch.setattr(embedder, "_run", slow)
    worker = threading.Thread(target=lambda: found.append(embedder.embed(*patches_of(1))))
    worker.start()
    assert begun.wait(30.0)
    with caplog.at_level(logging.WARNING):
        embedder.close()
    assert "still at work" in caplog.text
    assert cuda.live
    go_on.set()
    worker.join(30.0)
    assert np.isfinite(found[0]).all()
    embedder.close()
    assert cuda.live == {}


@pytest.mark.parametrize("failure", ["deserialize", "context", "malloc", "host_alloc"])
def test_an_engine_that_cannot_be_loaded_leaves_nothing_behind(
    engine: Path, cuda: FakeCuda, trt: FakeTensorRT, failure: str
) -> None:
    (trt.fail if failure in ("deserialize", "context") else cuda.fail).append(failure)
    with pytest.raises(EngineError) as raised:
        open_embedder(engine)
    assert ("tilefix engine build --model" in str(raised.value)) == (failure in ("deserialize", "context"))
    del raised
    gc.collect()  # an error's traceback may hold its frames in a cycle
    assert (cuda.live, cuda.retained, trt.live, cuda.depth()) == ({}, 0, [], 0)


def test_a_gpu_that_is_full_says_so(engine: Path, cuda: FakeCuda) -> None:
    cuda.memory_bytes = 100_000
    with pytest.raises(EngineError, match=r"allocate 393216 bytes on the GPU: .*CUDA_ERROR_OUT_OF_MEMORY"):
        open_embedder(engine)


def test_threads_take_turns(embedder: TensorRTEmbedder, cuda: FakeCuda) -> None:
    patches, masks = patches_of(1)
    wanted = embedder.embed(patches, masks)
    found: list[np.ndarray] = []
    left: list[int] = []

    def work() -> None:
        found.append(embedder.embed(patches, masks))
        left.append(cuda.depth())

    for _ in range(3):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert left == [0, 0, 0]  # no context stays behind in a thread
    for one in found:
        np.testing.assert_array_equal(one, wanted)


def test_no_large_array_is_made_in_1000_frames(tmp_path: Path, trt: FakeTensorRT, cuda: FakeCuda) -> None:
    held_bytes = np.zeros(1000, np.int64)
    side = 160  # 75 KiB of pixels, 300 as float32
    with TensorRTEmbedder(
        load_manifest((engine := small_engine(tmp_path, patch_px=side)).with_suffix(".json")), engine
    ) as embedder:
        frames = [patches_of(1, side, seed) for seed in range(4)]
        for frame in frames:
            embedder.embed(*frame)
        tracemalloc.start()
        try:
            for number in range(1000):
                before, _ = tracemalloc.get_traced_memory()
                tracemalloc.reset_peak()
                embedder.embed(*frames[number % 4])
                after, peak = tracemalloc.get_traced_memory()
                assert peak - before < LARGE_BYTES
                held_bytes[number] = after
                cuda.calls.clear()
        finally:
            tracemalloc.stop()
    assert np.ptp(held_bytes[100:]) < 16384  # flat: 18 bytes a frame would be more


def test_engines_of_other_shapes_are_refused(engine: Path) -> None:
    manifest = load_manifest(engine.with_suffix(".json"))
    for wrong in (replace(manifest, patch_px=32), replace(manifest, descriptor_dim=7)):
        with pytest.raises(EngineError, match=r"tensors are tilefix_pixels \(-1, 64, 64, 3\)"):
            TensorRTEmbedder(wrong, engine)


@pytest.mark.parametrize("data", [b"", b"no engine", b"FAKE ENGINE\n{}"])
def test_a_corrupt_engine_is_refused_before_it_is_loaded(engine: Path, data: bytes) -> None:
    engine.write_bytes(data)
    with pytest.raises(ModelError, match="SHA-256"):
        open_embedder(engine)
