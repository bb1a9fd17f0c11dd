"""Operators that an older TensorRT's parser does not know, written out in ones that it does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto

GELU = "Gelu"


def write_out_gelu(model: ModelProto) -> int:
    """Replaces each exact `Gelu` by x / 2 * (1 + erf(x / sqrt 2)) (ONNX operator set 20); gives how many there were.

    The approximation by tanh is left as it is.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    constants = {"gelu_root": math.sqrt(0.5), "gelu_one": 1.0, "gelu_half": 0.5}
    nodes, count = [], 0
    for original in graph.node:
        exact = all(item.name != "approximate" or item.s == b"none" for item in original.attribute)
        if original.op_type != GELU or not exact:
            nodes.append(type(original).FromString(original.SerializeToString()))
            continue
        count += 1
        (value,), (result,) = original.input, original.output
        scaled, erf, more, much = (f"{result}_{step}" for step in ("scaled", "erf", "more", "much"))
        nodes += [
            helper.make_node("Mul", [value, "gelu_root"], [scaled], name=scaled),
            helper.make_node("Erf", [scaled], [erf], name=erf),
            helper.make_node("Add", [erf, "gelu_one"], [more], name=more),
            helper.make_node("Mul", [value, more], [much], name=much),
            helper.make_node("Mul", [much, "gelu_half"], [result], name=result),
        ]
    if count:
        graph.initializer.extend(
            numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items()
        )
        del graph.node[:]
        graph.node.extend(nodes)
    return count
