"""Post-training quantization: the FP32 model in, one int8 ONNX file that describes as it does out.

The inputs of convolutions and linear layers are rounded to int8 with scales calibrated on patches, weights with a scale
per channel; what stands between them stays float, and so does the standardisation over the shown ground, whose sums
would not fit. Depthwise convolutions stay float as well: in int8 they are slower (docs/engine.md). When the result does
not describe as the original does, the layers that change the descriptors most are left in float too, until it does.
Needs the package `onnx`.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilefix.embedders import open_model_files
from tilefix.embedders.modelfile import read_model
from tilefix.embedders.onnx import OnnxEmbedder
from tilefix.engine.calibration import Patches
from tilefix.engine.check import INT8, Agreement, Limits, Yardstick
from tilefix.engine.heldout import HeldOut
from tilefix.engine.place import put_in_place
from tilefix.engine.qdq import check_qdq, layers_to_quantize, parse_onnx, with_layers_in_float
from tilefix.errors import ModelError
from tilefix.manifest import ModelManifest, save_manifest, sha256_of
from tilefix.preprocess import to_input

if TYPE_CHECKING:
    from onnx import ModelProto

QUANTIZED_OPS = ("Conv", "MatMul", "Gemm")
SENSITIVITY_PATCHES = 16  # layers are tried one at a time: a few patches tell them apart
_BATCH = 8

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Result:
    """What was written. `int8`, `left_float`: names of the layers; `sensitive`: of the latter, those that are in float
    because the descriptors would change too much."""

    file: Path
    manifest: ModelManifest
    agreement: Agreement
    int8: tuple[str, ...]
    left_float: tuple[str, ...]
    sensitive: tuple[str, ...]


def quantize(
    model: str | Path | None,
    calibration: Patches,
    out: Path | None = None,
    *,
    held_out: Sequence[HeldOut] = (),
    limits: Limits = INT8,
    depthwise: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Writes `out` (NAME-int8.onnx in the working folder unless given) with its manifest beside it.

    Every fourth patch of `calibration` is kept back and checked with, as are the held-out maps. `depthwise`: those
    convolutions in int8 too, to measure what that costs. Equal input gives equal bytes. Raises `ModelError` for a
    model that is quantized already or is none, and where no mixture holds the limits; then nothing is written.
    """
    tell = progress or (lambda _what, _done: None)
    manifest, file = open_model_files(model)
    if file.suffix != ".onnx" or manifest.descriptors_of is not None:
        raise ModelError("is not an FP32 ONNX model", where=file, mend="give the .onnx that tilefix-train export wrote")
    data = read_model(file, manifest)
    original = parse_onnx(data, file)
    if check_qdq(original, file).int8:
        raise ModelError("is quantized already", where=file, mend="give the FP32 model that it was made of")
    out = Path(f"{manifest.name}-int8.onnx") if out is None else out
    if out.suffix != ".onnx":
        raise ModelError("the file to write must be named .onnx", where=out, mend=f"--out {out.stem}.onnx")
    if out.resolve() == file.resolve():
        raise ModelError("would be written over the model itself", where=out, mend="give another --out")
    used, kept_back = calibration.split()
    with tempfile.TemporaryDirectory() as folder:
        trial = _Trial(manifest, Path(folder))
        tell("describing with the FP32 model", 0.0)
        yardstick = Yardstick(OnnxEmbedder(manifest, file), kept_back.images, kept_back.masks, held_out)
        tell("calibrating", 0.0)
        full = _calibrated(original, used, manifest, Path(folder), file, depthwise)
        best, agreement, sensitive = _within(full, original, yardstick, trial, kept_back, limits, tell)
        layers = check_qdq(best, out)
        made = trial.manifest_of(best, out.name)
        written = trial.file_of(best).read_bytes()
    _write(out, written, made)
    return Result(out, made, agreement, layers.int8, layers.left_float, sensitive)


class _Trial:
    """Candidates as embedders, by way of a file in a scratch folder."""

    def __init__(self, manifest: ModelManifest, folder: Path) -> None:
        self._manifest, self._folder = manifest, folder

    def file_of(self, model: ModelProto) -> Path:
        file = self._folder / "candidate.onnx"
        file.write_bytes(model.SerializeToString(deterministic=True))
        return file

    def manifest_of(self, model: ModelProto, name: str) -> ModelManifest:
        return replace(
            self._manifest,
            name=f"{self._manifest.name}-int8",
            file=name,
            sha256=sha256_of(self.file_of(model)),
            descriptors_of=self._manifest.sha256,
        )

    def embedder(self, model: ModelProto) -> OnnxEmbedder:
        file = self.file_of(model)
        return OnnxEmbedder(self.manifest_of(model, file.name), file)


def _calibrated(
    model: ModelProto, used: Patches, manifest: ModelManifest, folder: Path, where: Path, depthwise: bool
) -> ModelProto:
    """The model with every layer quantized, scales calibrated on the patches. ONNX Runtime's quantizer does it."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._starts = iter(range(0, len(used), _BATCH))

        def get_next(self) -> dict[str, Any] | None:
            start = next(self._starts, None)
            if start is None:
                return None
            part = slice(start, start + _BATCH)
            return {model.graph.input[0].name: to_input(used.images[part], used.masks[part], manifest)}

    copy = onnx.ModelProto()
    copy.CopyFrom(model)  # the quantizer changes what it is given
    done = folder / "quantized.onnx"
    try:
        with _quiet():
            quantize_static(
                copy,
                done,
                Reader(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTIZED_OPS),
                nodes_to_quantize=[node.name for node in layers_to_quantize(model, depthwise=depthwise)],
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "QuantizeBias": False,
                    # Rounding a layer's output before its bias is added costs accuracy and forbids fusing them.
                    "OpTypesToExcludeOutputQuantization": list(QUANTIZED_OPS),
                },
            )
    except Exception as error:  # the quantizer's exceptions share no public base class
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"cannot be quantized: {reason}", where=where, mend="export the model again with tilefix-train export"
        ) from error
    return parse_onnx(done.read_bytes(), where)


def _within(
    full: ModelProto,
    original: ModelProto,
    yardstick: Yardstick,
    trial: _Trial,
    patches: Patches,
    limits: Limits,
    tell: Progress,
) -> tuple[ModelProto, Agreement, tuple[str, ...]]:
    """The model with as few layers in float as hold the limits, worst first, and their names."""
    names = check_qdq(full, "the quantized model").int8
    if not names:
        raise ModelError("has no layer that can be quantized", mend="give a network of convolutions or linear layers")
    tell("checking", 0.0)
    agreement = yardstick.agreement(trial.embedder(full))
    worst: tuple[str, ...] = ()
    left = 0
    model = full
    while agreement.beyond(limits) and left < len(names) - 1:
        worst = worst or _by_harm(full, original, names, trial, patches, tell)
        left = min(left + 1 + left // 4, len(names) - 1)
        tell(f"checking with {left} of {len(names)} layers in float", 0.0)
        model = with_layers_in_float(full, original, frozenset(worst[:left]))
        agreement = yardstick.agreement(trial.embedder(model))
    if broken := agreement.beyond(limits):
        raise ModelError(
            f"cannot be quantized without changing what it describes: {broken}",
            mend="calibrate with more patches of the kind that will be flown over",
        )
    return model, agreement, worst[:left]


def _by_harm(
    full: ModelProto, original: ModelProto, names: Sequence[str], trial: _Trial, patches: Patches, tell: Progress
) -> tuple[str, ...]:
    """The layers, first the one that changes the descriptors most when it alone is quantized."""
    every = frozenset(names)
    step = max(1, len(patches) // SENSITIVITY_PATCHES)
    images, masks = patches.images[::step], patches.masks[::step]
    plain = trial.embedder(with_layers_in_float(full, original, every)).embed(images, masks)
    harm = {}
    for number, name in enumerate(names):
        tell("measuring each layer", number / len(names))
        alone = with_layers_in_float(full, original, every - {name})
        harm[name] = float(1.0 - (trial.embedder(alone).embed(images, masks) * plain).sum(axis=1).mean())
    return tuple(sorted(names, key=lambda name: (-harm[name], name)))


def _write(out: Path, data: bytes, manifest: ModelManifest) -> None:
    """The file and its manifest; what was there before stays when one of the two cannot be written."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.partial-") as folder:
            partial = Path(folder) / out.name
            partial.write_bytes(data)
            save_manifest(manifest, partial.with_suffix(".json"))
            put_in_place((partial, partial.with_suffix(".json")), out.parent)
    except OSError as error:
        raise ModelError(f"cannot be written: {error.strerror}", where=out, mend="check the disk and --out") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the quantizer's log, which advises a preparation that these models need not."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)


def summary(result: Result) -> str:
    """What a person reads."""
    float_only = len(result.left_float) - len(result.sensitive)
    lines = [
        f"{result.file}: {len(result.int8)} layers in int8; in float {float_only} depthwise ones and "
        f"{len(result.sensitive)} that would change the descriptors",
        *(f"  in float: {name}" for name in result.sensitive),
        f"  against the FP32 model: {result.agreement}",
    ]
    return "\n".join(lines)
