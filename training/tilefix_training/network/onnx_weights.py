"""The weights of an exported model, so that training can go on from it.

The exporter keeps the names of a network's tensors, but for the matrices of its linear layers: those it stores
transposed under names of its own. Each is multiplied first, then its bias is added, whose name is kept.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tilefix.errors import ModelError
from tilefix_training.network.backbone import BackboneConfig
from tilefix_training.network.names import shape_of

_OURS = re.compile(r"(stem|stages|head|neck)\.")


def read_onnx(path: Path) -> tuple[BackboneConfig, dict[str, Tensor]]:
    """Configuration and weights of a model that `export_onnx` wrote; raises `ModelError` for any other file.

    `layer_scale` and `init`, what a network starts from, are not in the file and have their defaults.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(path).graph
        state = _state(graph, onnx.numpy_helper.to_array)
        config = _config(graph, state)
    except (OSError, DecodeError, KeyError, ValueError, IndexError) as error:
        raise ModelError(
            f"not a model that tilefix-train exported: {error}", where=path, mend="give the .onnx of such a model"
        ) from error
    return config, state


def _state(graph: Any, to_array: Any) -> dict[str, Tensor]:
    arrays = {item.name: np.array(to_array(item)) for item in graph.initializer}
    state = {name: torch.from_numpy(array) for name, array in arrays.items() if _OURS.match(name)}
    matrices = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        if node.op_type != "Add":
            continue
        bias = next((name for name in node.input if name.endswith((".fc1.bias", ".fc2.bias"))), None)
        product = next((name for name in node.input if name in matrices), None)
        if bias is not None and product is not None:
            array = arrays[matrices[product]]
            state[bias.removesuffix("bias") + "weight"] = torch.from_numpy(np.ascontiguousarray(array.T))
    if "neck.running_mean" in state:
        state["neck.num_batches_tracked"] = torch.tensor(0)
    return state


def _config(graph: Any, state: dict[str, Tensor]) -> BackboneConfig:
    depths, dims = shape_of(state, graph.name)
    length = graph.output[0].type.tensor_type.shape.dim[1].dim_value
    grid = math.isqrt(length // dims[-1])
    if grid < 1 or grid**2 * dims[-1] != length:
        raise ValueError(f"descriptors of {length} values do not come from {dims[-1]} channels")
    first = next(node for node in graph.node if node.op_type == "Conv")
    return BackboneConfig(
        depths,
        dims,
        pool_grid=grid,
        standardise_input=first.input[0] != graph.input[0].name,
        neck="neck.running_mean" in state,
    )
