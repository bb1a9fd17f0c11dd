"""An engine's tensors: pixels and masks in, as bytes, and the preprocessing as the network's first operations.

The GPU then scales, masks and standardises a patch in the same kernels that read it, a quarter of the bytes of float32
are copied to it, and the CPU has nothing to do but to hand over the patch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tilefix.preprocess import scale_and_offset

if TYPE_CHECKING:
    from onnx import ModelProto

    from tilefix.manifest import ModelManifest

PIXELS = "tilefix_pixels"  # uint8 (n, p, p, 3) RGB
MASKS = "tilefix_masks"  # uint8 (n, p, p): 1 where the patch shows ground, 0 elsewhere
DESCRIPTORS = "tilefix_descriptors"  # float32 (n, descriptor_dim)


def take_pixels(model: ModelProto, manifest: ModelManifest) -> None:
    """Changes a network of `tilefix.preprocess.to_input`'s values into one that takes what `to_input` takes.

    The arithmetic is `to_input`'s, in float32 and in its order. Input and output get the names above.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    (values,), (output,) = [item.name for item in graph.input], [item.name for item in graph.output]
    side, length = manifest.patch_px, manifest.descriptor_dim
    scale, offset = scale_and_offset(manifest.mean, manifest.std)
    constants: dict[str, np.ndarray] = {"scale": scale, "offset": offset, "channel": np.array([1], np.int64)}
    graph.initializer.extend(numpy_helper.from_array(value, f"tilefix_{key}") for key, value in constants.items())
    steps = [
        helper.make_node("Cast", [PIXELS], ["tilefix_float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["tilefix_float"], ["tilefix_first"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["tilefix_first", "tilefix_scale"], ["tilefix_scaled"]),
        helper.make_node("Sub", ["tilefix_scaled", "tilefix_offset"], ["tilefix_values"]),
        helper.make_node("Cast", [MASKS], ["tilefix_seen"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["tilefix_seen", "tilefix_channel"], ["tilefix_ground"]),
        helper.make_node("Mul", ["tilefix_values", "tilefix_ground"], [values]),
    ]
    for node in steps:
        node.name = node.output[0]
    nodes = [*steps, *graph.node, helper.make_node("Identity", [output], [DESCRIPTORS], name=DESCRIPTORS)]
    inputs = [
        helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, ["n", side, side, 3]),
        helper.make_tensor_value_info(MASKS, TensorProto.UINT8, ["n", side, side]),
    ]
    outputs = [helper.make_tensor_value_info(DESCRIPTORS, TensorProto.FLOAT, ["n", length])]
    for field, content in ((graph.node, nodes), (graph.input, inputs), (graph.output, outputs)):
        kept = [type(item).FromString(item.SerializeToString()) for item in content]
        del field[:]
        field.extend(kept)
