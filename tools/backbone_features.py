"""Dense features of the embedding's own network: what its first layers say of every few pixels of a picture."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from tilefix.errors import ModelError
from tilefix.types import BoolArray, UInt8Array

STRIDES_PX = (4, 8)  # of the network's first stages

Float32Array = npt.NDArray[np.float32]


class Backbone:
    """The first stages of a ConvNeXt in an ONNX file, run on pictures of any size that their stride divides."""

    def __init__(self, model: Path, stages: int = 1) -> None:
        self.stride_px = STRIDES_PX[stages - 1]
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / "part.onnx"
            graph = onnx.load(model).graph
            begin, end = _first_stages(graph, model, stages)
            onnx.utils.extract_model(model, part, [begin], [end])
            cut = onnx.load(part)
            for value, (rows, columns) in ((cut.graph.input[0], ("h", "w")), (cut.graph.output[0], ("y", "x"))):
                dims = value.type.tensor_type.shape.dim
                for dim, name in zip(dims[2:], (rows, columns), strict=True):
                    dim.dim_param = name
            del cut.graph.value_info[:]
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            self._session = onnxruntime.InferenceSession(cut.SerializeToString(), options)

    def features(self, image: UInt8Array, mask: BoolArray) -> tuple[Float32Array, BoolArray]:
        """Unit vectors, float32 (h / stride, w / stride, channels), and where they are of the picture alone; 0
        elsewhere.

        `image`: uint8 (h, w, 3) RGB, sides divisible by the stride; brought to mean 0 and deviation 1 by channel, as
        the network does with a whole patch. The mean vector is taken off: what all ground has in common tells no place.
        """
        inside = image[mask].astype(np.float32)
        scaled = (image.astype(np.float32) - inside.mean(axis=0)) / np.maximum(inside.std(axis=0), 1e-3)
        scaled *= mask[..., None]
        name = self._session.get_inputs()[0].name
        (found,) = self._session.run(None, {name: scaled.transpose(2, 0, 1)[None]})
        vectors = np.asarray(found[0].transpose(1, 2, 0), np.float32)
        rows, columns = vectors.shape[:2]
        parts = mask.reshape(rows, self.stride_px, columns, self.stride_px)
        whole = np.asarray(parts.all(axis=(1, 3)), np.bool_)
        vectors = vectors - vectors[whole].mean(axis=0)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=2, keepdims=True), 1e-6)
        return np.asarray(vectors * whole[..., None], np.float32), whole


def _first_stages(graph: onnx.GraphProto, model: Path, stages: int) -> tuple[str, str]:
    """Names of the values between which the first stages lie: the first convolution's input, and what the next stage's
    takes, the one with a stride."""
    strided = [
        node
        for node in graph.node
        if node.op_type == "Conv" and any(item.name == "strides" and max(item.ints) > 1 for item in node.attribute)
    ]
    if len(strided) <= stages:
        raise ModelError("the network has no stages", where=model, mend="give a ConvNeXt as ONNX")
    return strided[0].input[0], strided[stages].input[0]


def likeness(ground: Float32Array, patch: Float32Array, covered: BoolArray, seen: BoolArray) -> Float32Array:
    """Mean cosine of a patch's vectors with those of the ground, centred on each of its cells; NaN where less than
    0.6 of the patch lies on covered ground."""
    half = patch.shape[0] // 2
    border = (half, half, half, half)
    total = np.zeros(ground.shape[:2], np.float32)
    channels = ground.shape[2]
    for first in range(0, channels, 4):
        some = slice(first, min(first + 4, channels))
        wide = cv2.copyMakeBorder(np.ascontiguousarray(ground[..., some]), *border, cv2.BORDER_CONSTANT)
        total += cv2.matchTemplate(wide, np.ascontiguousarray(patch[..., some]), cv2.TM_CCORR)
    wide = cv2.copyMakeBorder(covered.astype(np.float32), *border, cv2.BORDER_CONSTANT)
    count = cv2.matchTemplate(wide, seen.astype(np.float32), cv2.TM_CCORR)
    total /= np.maximum(count, 1.0)
    total[count < 0.6 * float(seen.sum())] = np.nan
    return total
