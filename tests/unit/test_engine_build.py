"""`tilefix engine build`, on a GPU that keeps CUDA's rules: checks, fingerprints, and nothing left after a failure."""

from __future__ import annotations

import json
import shlex
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.engines import engine_of, fake_machine, small_model
from support.fakecuda import FakeCuda
from support.faketensorrt import FakeTensorRT
from tilefix.cli import main
from tilefix.embedders import open_embedder
from tilefix.engine import build as building
from tilefix.engine.build import build_engine
from tilefix.engine.fingerprint import fingerprint_path, l4t_release, read_fingerprint
from tilefix.engine.heldout import HeldOut
from tilefix.errors import EngineError, ModelError
from tilefix.manifest import load_manifest

pytest.importorskip("onnx")

SIDE = 64


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> tuple[FakeCuda, FakeTensorRT]:
    return fake_machine(monkeypatch)


@pytest.fixture
def trt(machine: tuple[FakeCuda, FakeTensorRT]) -> FakeTensorRT:
    return machine[1]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return small_model(tmp_path)


@pytest.fixture(scope="module")
def held_out() -> tuple[HeldOut, ...]:
    """Tiles of noise, and queries that are parts of them: quick to make, and easy to find."""
    rng = np.random.default_rng(6)
    tiles = rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8).repeat(SIDE // 8, 1).repeat(SIDE // 8, 2)
    noisy = np.clip(tiles + rng.normal(0, 9, tiles.shape), 0, 255).astype(np.uint8)
    centres = np.stack([np.arange(12) * 100.0, np.zeros(12)], axis=1)
    return (
        HeldOut(tiles, centres.astype(np.float32), noisy, rng.random((12, SIDE, SIDE)) < 0.95, centres, 100.0, 30.0),
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, held_out: tuple[HeldOut, ...]) -> None:
    monkeypatch.setattr(building, "held_out_worlds", lambda manifest: held_out)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_built_engine_opens_and_describes_as_its_model(
    model: Path, trt: FakeTensorRT, held_out: tuple[HeldOut, ...]
) -> None:
    out = model.with_name("fast.engine")
    built = build_engine(model, "fp16", out)
    assert files(model.parent) == {"small.onnx", "small.json", "fast.engine", "fast.json", "fast.engine.json"}
    assert built.agreement.cosine_min >= 0.999
    assert built.agreement.queries == 12
    assert built.size_bytes == out.stat().st_size
    manifest, original = load_manifest(out.with_suffix(".json")), load_manifest(model.with_suffix(".json"))
    assert (manifest.identity, manifest.descriptor_dim) == (original.sha256, original.descriptor_dim)
    with closing(open_embedder(out)) as embedder:
        found = embedder.embed(held_out[0].patches, held_out[0].masks)
    wanted = open_embedder(model).embed(held_out[0].patches, held_out[0].masks)
    cosines = (found * wanted).sum(axis=1)
    assert 0.999 < cosines.min() < cosines.max()
    assert not np.array_equal(found, wanted)  # it is half precision
    assert trt.live == []


@pytest.mark.parametrize("failure", ["parse", "build", "deserialize", "context", "enqueue", "kernel"])
def test_a_build_that_fails_leaves_nothing(model: Path, trt: FakeTensorRT, failure: str) -> None:
    before = files(model.parent)
    trt.fail.append(failure)
    with pytest.raises(EngineError) as raised:
        build_engine(model, "fp16", model.with_name("fast.engine"))
    assert failure in ("enqueue", "kernel", "deserialize", "context") or "TensorRT" in str(raised.value)
    assert files(model.parent) == before


def test_an_engine_that_describes_otherwise_is_refused_and_the_old_one_stays(model: Path, trt: FakeTensorRT) -> None:
    out = model.with_name("fast.engine")
    build_engine(model, "fp16", out)
    before = {path: path.read_bytes() for path in model.parent.iterdir()}
    trt.noise = 0.01  # times the square root of the dimension: a cosine of about 0.93
    with pytest.raises(
        ModelError, match=r"fast\.engine: does not describe as the model.*cosine 0\.\d+ is below 0\.999"
    ):
        build_engine(model, "fp16", out)
    assert {path: path.read_bytes() for path in model.parent.iterdir()} == before


def test_patches_of_ones_own_are_checked_too(model: Path, trt: FakeTensorRT, tmp_path: Path) -> None:
    from tilefix.engine.calibration import Patches

    patches = Patches(np.zeros((2, SIDE, SIDE, 3), np.uint8), np.ones((2, SIDE, SIDE), np.bool_))
    built = build_engine(model, "fp16", model.with_name("fast.engine"), patches=patches)
    assert built.agreement.patches == 2 + 24


def test_the_fingerprint_says_what_was_built_for_what(model: Path, trt: FakeTensorRT) -> None:
    out = model.with_name("fast.engine")
    made = build_engine(model, "fp16", out).fingerprint
    assert made == read_fingerprint(out)
    assert (made.runtime, made.runtime_version, made.cuda, made.compute_capability) == (
        "TensorRT",
        "10.3.0",
        "12.6",
        "8.7",
    )
    assert made.model_sha256 == made.descriptors_of == load_manifest(model.with_suffix(".json")).sha256
    words = ["tilefix", "engine", "build", "--model", str(model), "--precision", "fp16", "--out", str(out)]
    assert shlex.split(made.command(out)) == words


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "10.4.0"}, "version of the runtime 10.3.0 at its build, 10.4.0 here"),
        ({"capability": (7, 2)}, "compute capability 8.7 at its build, 7.2 here"),
        ({"cuda": 13000}, "CUDA version of the driver 12.6 at its build, 13.0 here"),
        ({"l4t": "36.4.3"}, "Jetson Linux release none at its build, 36.4.3 here"),
    ],
)
def test_an_engine_of_another_machine_is_refused_with_the_command_that_mends_it(
    model: Path,
    machine: tuple[FakeCuda, FakeTensorRT],
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    said: str,
) -> None:
    cuda, trt = machine
    out = model.with_name("it's fast.engine")
    command = build_engine(model, "fp16", out).fingerprint.command(out)
    trt.__version__ = str(change.get("version", trt.__version__))
    cuda.capability = change.get("capability", cuda.capability)  # type: ignore[assignment]
    cuda.version = change.get("cuda", cuda.version)  # type: ignore[assignment]
    if "l4t" in change:
        monkeypatch.setattr("tilefix.engine.fingerprint.l4t_release", lambda: change["l4t"])
    with pytest.raises(EngineError) as raised:
        open_embedder(out)
    assert said in str(raised.value)
    assert f"(run {command})" in str(raised.value)
    assert main(shlex.split(command)[1:]) == 0  # as it stands
    open_embedder(out).close()


def test_an_engine_of_another_model_is_refused(model: Path, trt: FakeTensorRT) -> None:
    out = model.with_name("fast.engine")
    build_engine(model, "fp16", out)
    manifest = out.with_suffix(".json")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "descriptors_of": "0" * 64}))
    with pytest.raises(EngineError, match="belongs to another engine or model"):
        open_embedder(out)


@pytest.mark.parametrize(
    "text",
    [None, "", "[]", "{}", "[" * 10_000, '{"format_version": 1, "model": 3}', '{"format_version": 2}', "x" * 70_000],
)
def test_a_fingerprint_that_is_none_is_refused(model: Path, trt: FakeTensorRT, text: str | None) -> None:
    out = engine_of(model, model.parent)
    path = fingerprint_path(out)
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(EngineError, match=r"engine\.json.*tilefix engine build"):
        open_embedder(out)


@pytest.mark.parametrize("key", ["cuda", "extra"])
def test_a_fingerprint_has_all_fields_and_no_other(model: Path, trt: FakeTensorRT, key: str) -> None:
    out = engine_of(model, model.parent)
    path = fingerprint_path(out)
    raw = json.loads(path.read_text())
    path.write_text(json.dumps({**raw, "extra": "1"} if key == "extra" else {k: v for k, v in raw.items() if k != key}))
    with pytest.raises(EngineError, match=key):
        open_embedder(out)


def test_places_that_are_no_place_for_an_engine_are_refused(model: Path, trt: FakeTensorRT, tmp_path: Path) -> None:
    for out, said in (
        (model, "ends in .engine"),
        (model.with_suffix(".engine"), "another model's manifest"),
        (tmp_path / "none" / "x.engine", "no such folder"),
    ):
        with pytest.raises(EngineError, match=said):
            build_engine(model, "fp16", out)
    assert files(tmp_path) == {"small.onnx", "small.json"}


def test_precision_and_model_must_fit(model: Path, trt: FakeTensorRT) -> None:
    out = model.with_name("fast.engine")
    with pytest.raises(EngineError, match=r"not quantized cannot be built as int8.*tilefix engine quantize"):
        build_engine(model, "int8", out)
    with pytest.raises(EngineError, match="no precision 'fp8'"):
        build_engine(model, "fp8", out)


def test_timings_are_kept_and_used_again(model: Path, trt: FakeTensorRT, tmp_path: Path) -> None:
    cache, out = tmp_path / "timings", model.with_name("fast.engine")
    build_engine(model, "fp16", out, timing_cache=cache)
    first = cache.read_bytes()
    assert first == b"timings of 10.3.0\nconv 3 us\n"
    written = cache.stat().st_mtime_ns
    build_engine(model, "fp16", out, timing_cache=cache)
    assert cache.stat().st_mtime_ns == written  # nothing new
    trt.__version__ = "10.4.0"
    build_engine(model, "fp16", out, timing_cache=cache)
    assert cache.read_bytes() == b"timings of 10.4.0\nconv 3 us\n"
    cache.write_bytes(b"something else")
    build_engine(model, "fp16", out, timing_cache=cache)
    assert cache.read_bytes() == b"timings of 10.4.0\nconv 3 us\n"
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(("cache", "said"), [("", "cannot be read"), ("nowhere/timings", "cannot be written")])
def test_a_timing_cache_that_is_no_file_is_refused(
    model: Path, trt: FakeTensorRT, tmp_path: Path, cache: str, said: str
) -> None:
    out = model.with_name("fast.engine")
    with pytest.raises(EngineError, match=said):
        build_engine(model, "fp16", out, timing_cache=tmp_path / cache)
    assert trt.built == 0  # said before the build
    assert not out.exists()


def test_an_engine_that_cannot_take_its_place_is_refused(
    model: Path, trt: FakeTensorRT, held_out: tuple[HeldOut, ...]
) -> None:
    out = model.with_name("fast.engine")
    out.mkdir()
    before = sorted(model.parent.iterdir())
    with pytest.raises(EngineError, match="cannot be written"):
        build_engine(model, "fp16", out, held_out=held_out)
    assert sorted(model.parent.iterdir()) == before


def test_a_parser_without_gelu_is_given_what_it_is_made_of(
    model: Path, trt: FakeTensorRT, held_out: tuple[HeldOut, ...]
) -> None:
    trt.knows = lambda name: name != "Gelu"
    out = model.with_name("fast.engine")
    build_engine(model, "fp16", out)
    assert b"Gelu" not in out.read_bytes()
    assert b"Erf" in out.read_bytes()


@pytest.mark.parametrize(("version", "said"), [("8.6.1", "8.6.1 is too old"), ("9.2.0", "9.2.0 is too old")])
def test_an_old_tensorrt_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch, version: str, said: str) -> None:
    fake_machine(monkeypatch, version=version)
    with pytest.raises(EngineError, match=said):
        build_engine(model, "fp16", model.with_name("fast.engine"))


def test_a_quantized_model_needs_its_fp32_model_beside_it(model: Path, trt: FakeTensorRT) -> None:
    manifest = load_manifest(model.with_suffix(".json"))
    lone = replace(manifest, descriptors_of="0" * 64)
    with pytest.raises(ModelError, match=r"FP32 model.*is not here.*000000000000"):
        building._fp32_model(lone, model)
    assert (
        building._fp32_model(replace(manifest, descriptors_of=manifest.sha256), model.with_name("q.onnx"))[1] == model
    )


def test_the_command_builds_and_inspects(
    model: Path, trt: FakeTensorRT, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "fast.engine"
    arguments = ["--model", str(model), "--precision", "fp16", "--out", str(out), "--timing-cache", str(tmp_path / "t")]
    assert main(["engine", "build", *arguments]) == 0
    said = capsys.readouterr().out
    assert "TensorRT 10.3.0 for a GPU of numpy (8.7)" in said
    assert "against the FP32 model: cosine" in said
    assert main(["engine", "inspect", str(out), "--layers"]) == 0
    said = capsys.readouterr().out
    assert "fp16 of small.onnx, TensorRT 10.3.0, CUDA 12.6" in said
    assert "    1  FP16   CaskConvolution" in said
    assert main(["engine", "inspect", str(tmp_path / "none.engine")]) == 2


def test_the_jetson_linux_release_is_read(tmp_path: Path) -> None:
    file = tmp_path / "nv_tegra_release"
    assert l4t_release(file) == ""
    file.write_text("# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64\n")
    assert l4t_release(file) == "36.4.3"
    file.write_text("something else\nmore")
    assert l4t_release(file) == "something else"


def config_of(folder: Path, engine: Path, onnx: Path) -> Path:
    config = folder / "tilefix.toml"
    config.write_text(
        f'[map]\npath = "map"\n[model]\npath = "{engine}"\nonnx = "{onnx}"\n[camera]\nsource = "folder:x"\nwidth = 64\n'
        'height = 64\nhfov_deg = 70\n[link]\nurl = "udpin:127.0.0.1:1"\n'
    )
    return config


def test_ensure_builds_what_is_missing_and_leaves_what_fits(
    model: Path, trt: FakeTensorRT, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = tmp_path / "state" / "small.engine"
    config = config_of(tmp_path, engine, model)
    assert main(["engine", "ensure", "--config", str(config)]) == 0
    assert "built" in capsys.readouterr().out.splitlines()[-1]
    before = engine.stat().st_mtime_ns
    assert main(["engine", "ensure", "--config", str(config)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{engine}: fits this machine"
    assert engine.stat().st_mtime_ns == before


def test_ensure_builds_anew_for_another_tensorrt_and_keeps_what_it_cannot_replace(
    model: Path, trt: FakeTensorRT, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = tmp_path / "state" / "small.engine"
    config = config_of(tmp_path, engine, model)
    assert main(["engine", "ensure", "--config", str(config)]) == 0
    fake_machine(monkeypatch, version="10.7.0")
    assert main(["engine", "ensure", "--config", str(config)]) == 0
    said = capsys.readouterr().out
    assert "10.3.0 at its build, 10.7.0 here" in said
    assert read_fingerprint(engine).runtime_version == "10.7.0"
    other = small_model(tmp_path, patch_px=96, name="other")  # the held-out patches are none for this one
    assert main(["engine", "ensure", "--config", str(config_of(tmp_path, engine, other))]) == 2
    assert read_fingerprint(engine).runtime_version == "10.7.0"
    assert files(engine.parent) >= {"small.engine", "small.json", "small.engine.json"}


def test_ensure_does_nothing_without_an_engine_in_the_configuration(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["engine", "ensure", "--config", str(config_of(tmp_path, model, model))]) == 0
    assert "nothing to build" in capsys.readouterr().out
