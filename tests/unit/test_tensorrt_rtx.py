"""NVIDIA's real parser and builder, which need no GPU: what they make of our networks, and what they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from support import fakecuda
from support.networks import small_model
from tilefix.embedders import open_model_files
from tilefix.engine.build import build_engine, prepared_network
from tilefix.engine.calibration import Patches
from tilefix.engine.plan import Plan, build_plan, parser_knows
from tilefix.engine.quantize import quantize
from tilefix.errors import EngineError, ModelError

trt = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed: pip install 'tilefix[tensorrt-rtx]'")
onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'tilefix[engine]'")

ARITHMETIC = ("gemm", "correlation")  # what RTX calls matrix products and convolutions


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model in int8; calibrated with noise, which is as good for its form."""
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    patches = Patches(images, np.ones((12, 64, 64), np.bool_))
    return quantize(None, patches, tmp_path_factory.mktemp("int8") / "tilefix-s-int8.onnx").file


def plan_of(model: Path | None, precision: str) -> Plan:
    manifest, file = open_model_files(model)
    return build_plan(trt, prepared_network(file.read_bytes(), manifest, precision, file))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_shipped_model_is_built(precision: str) -> None:
    plan = plan_of(None, precision)
    arithmetic = [layer for layer in plan.layers if layer.kind in ARITHMETIC]
    assert len(arithmetic) == 34  # each convolution and linear layer by itself
    assert {layer.precision for layer in arithmetic} == {precision.upper()}
    (first,) = (layer for layer in plan.layers if "UINT8" in layer.takes)
    assert set(first.gives) <= {"FP32", "INT64"}  # the GPU reads the bytes, and standardises in float32
    weights = open_model_files(None)[1].stat().st_size
    assert len(plan.data) < (1.6 if precision == "fp32" else 1.1) * weights


def test_the_quantized_model_is_built_with_its_arithmetic_in_int8(quantized: Path) -> None:
    model = onnx.load(quantized)
    int8 = sum(node.op_type == "DequantizeLinear" for node in model.graph.node) // 2
    plan = plan_of(quantized, "int8")
    arithmetic = [layer for layer in plan.layers if layer.kind in ARITHMETIC]
    assert len(arithmetic) == 34
    assert sum(layer.takes[:1] == ("INT8",) for layer in arithmetic) == int8 >= 20
    assert {layer.precision for layer in arithmetic} <= {"INT8", "FP16"}


def otherwise_quantized(folder: Path, **settings: Any) -> bytes:
    """A small network as ONNX Runtime quantizes it with these settings."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            rng = np.random.default_rng(2)
            self._left = [{"patches": rng.normal(size=(2, 3, 16, 16)).astype(np.float32)} for _ in range(3)]

        def get_next(self) -> dict[str, np.ndarray] | None:
            return self._left.pop() if self._left else None

    signed = {"weight_type": QuantType.QInt8, "activation_type": QuantType.QInt8}
    kinds = {key: QuantType[value] for key, value in settings.items() if key.endswith("_type")}
    extra = {key: value for key, value in settings.items() if not key.endswith("_type")}
    ort.set_default_logger_severity(4)
    quantize_static(
        str(small_model(folder)),
        str(folder / "q.onnx"),
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        op_types_to_quantize=["Conv", "MatMul"],
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False, **extra},
        **{**signed, **kinds},
    )
    return (folder / "q.onnx").read_bytes()


@pytest.mark.filterwarnings("ignore")  # ONNX Runtime's quantizer warns of its own defaults
@pytest.mark.parametrize(
    ("settings", "ours"),
    [
        ({"QuantizeBias": True}, "int32 bias"),
        ({"activation_type": "QUInt8", "ActivationSymmetric": False}, "not signed 8 bit"),
        ({"ActivationSymmetric": False}, "zero point that is not 0"),
    ],
)
def test_forms_that_nvidia_refuses_are_refused_with_the_node(
    tmp_path: Path, settings: dict[str, Any], ours: str
) -> None:
    data = otherwise_quantized(tmp_path, **settings)
    manifest, file = open_model_files(tmp_path / "small.onnx")
    with pytest.raises(ModelError, match=ours):
        prepared_network(data, manifest, "int8", file)
    with pytest.raises(EngineError, match="TensorRT"):  # and rightly: without our check the parser or builder refuses
        build_plan(trt, data)


@pytest.mark.filterwarnings("ignore")
def test_the_form_that_we_take_is_built(tmp_path: Path) -> None:
    data = otherwise_quantized(tmp_path)
    manifest, file = open_model_files(tmp_path / "small.onnx")
    plan = build_plan(trt, prepared_network(data, manifest, "int8", file))
    assert {layer.takes[0] for layer in plan.layers if layer.kind in ARITHMETIC} == {"INT8"}


def test_what_is_no_network_is_refused_with_the_parsers_words() -> None:
    with pytest.raises(EngineError, match="parser refuses the network"):
        build_plan(trt, b"no network")


def test_the_parser_tells_its_operators() -> None:
    assert parser_knows(trt, "Conv")
    assert not parser_knows(trt, "NoSuchOperator")


def test_without_a_driver_a_build_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    try:
        driver.cuInit(0)
    except RuntimeError:
        pass
    else:
        pytest.skip("there is a driver here")
    monkeypatch.setitem(__import__("sys").modules, "pycuda", None)
    with pytest.raises(EngineError, match="no NVIDIA driver"):
        build_engine(None, "fp16", tmp_path / "x.engine")
    assert not list(tmp_path.iterdir())


def test_the_fake_has_the_calls_of_the_real_package() -> None:
    driver = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")
    for name, fake in fakecuda._bindings(fakecuda.FakeCuda()).items():
        real = getattr(driver, name)
        for value in vars(fake) if not callable(fake) else ():
            assert hasattr(real, value)
    for result in fakecuda.Result:
        assert int(getattr(driver.CUresult, result.name)) == result
