"""The layers that an engine runs, and in which precision: as the runtime itself reports them, after it fused them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

_WORDS = {"Float": "FP32", "Half": "FP16", "BFloat16": "BF16", "Int8": "INT8", "UInt8": "UINT8", "FP8": "FP8",
          "Int32": "INT32", "Int64": "INT64", "Bool": "BOOL"}  # fmt: skip
_ARITHMETIC = ("INT8", "FP8", "FP16", "BF16", "FP32")  # the narrowest of a layer's inputs is what it computes with
_LOGGED = re.compile(
    r"^Name: (\S+), LayerType: (\w+), Inputs: \[(.*?)\], Constants: \[(.*?)\], Outputs: \[(.*?)\], Tac"
)
_DATATYPE = re.compile(r"Datatype: (\w+)")


@dataclass(frozen=True, slots=True)
class Layer:
    """`kind`: the runtime's word, as "gemm", "correlation", "kgen" (a generated kernel). `takes`, `gives`: the types of
    its inputs (constants included) and outputs, as "FP16"."""

    name: str
    kind: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]

    @property
    def precision(self) -> str:
        """The narrowest type of number that it takes; where it takes none, that of what it gives."""
        return next((kind for kind in _ARITHMETIC if kind in self.takes or kind in self.gives), "-")


def layers_of_inspector(text: str) -> tuple[Layer, ...]:
    """The layers in the JSON of TensorRT's `EngineInspector`; only their names when it was built without details."""
    layers = []
    for item in json.loads(text).get("Layers", []):
        if isinstance(item, str):
            layers.append(Layer(item, "-", (), ()))
            continue
        takes = [*item.get("Inputs", ()), *item.get("Constants", ())]
        kinds = [tuple(_word(_datatype(tensor)) for tensor in group) for group in (takes, item.get("Outputs", ()))]
        layers.append(Layer(str(item.get("Name", "-")), str(item.get("LayerType", "-")), kinds[0], kinds[1]))
    return tuple(layers)


def layers_of_log(lines: Sequence[str]) -> tuple[Layer, ...]:
    """The same from the builder's log at its finest level: TensorRT-RTX writes them there, without any GPU."""
    layers = []
    for line in "\n".join(lines).splitlines():
        if found := _LOGGED.match(line):
            name, kind, *groups = found.groups()
            inputs, constants, outputs = (tuple(map(_word, _DATATYPE.findall(group))) for group in groups)
            layers.append(Layer(name, kind, inputs + constants, outputs))
    return tuple(layers)


def layer_table(layers: Iterable[Layer]) -> str:
    """How many layers of each kind there are in each precision, most first, as lines to print."""
    counts = Counter((layer.kind, layer.precision) for layer in layers)
    rows = [f"{count:5d}  {precision:5}  {kind}" for (kind, precision), count in counts.most_common()]
    return "\n".join(["count  type   kind", *rows])


def _datatype(tensor: Any) -> str:
    if not isinstance(tensor, dict):
        return "-"
    return str(tensor.get("Datatype") or tensor.get("Format/Datatype") or "-")


def _word(datatype: str) -> str:
    return _WORDS.get(datatype, datatype)
