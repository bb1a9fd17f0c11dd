"""The names of a ConvNeXt's tensors: timm's, which are ours, and Meta's (github.com/facebookresearch/ConvNeXt)."""

from __future__ import annotations

import re

from torch import Tensor

from tilefix.errors import ModelError

_META = (
    (r"^downsample_layers\.0\.", "stem."),
    (r"^downsample_layers\.", "stages."),
    (r"^(stages\.[1-9])\.([01])\.(?=weight|bias)", r"\1.downsample.\2."),
    (r"^(stages\.\d)\.(\d+)\.(?=\D)", r"\1.blocks.\2."),
    (r"\.dwconv\.", ".conv_dw."),
    (r"\.pwconv([12])\.", r".mlp.fc\1."),
    (r"^norm\.", "head.norm."),
    (r"^head\.(weight|bias)$", r"head.fc.\1"),
)


def timm_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under timm's names where they have Meta's; the blocks' 1 x 1 convolutions become linear."""
    found: dict[str, Tensor] = {}
    for name, value in state.items():
        new = name
        for pattern, text in _META if any(key.startswith("downsample_layers.") for key in state) else ():
            new = re.sub(pattern, text, new)
        linear = re.search(r"\.mlp\.fc[12]\.weight$", new) and value.ndim == 4
        found[new] = value.flatten(1) if linear else value
    return found


def shape_of(state: dict[str, Tensor], where: object) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Depths and dims of the ConvNeXt that these weights are of; raises `ModelError` when they are of none."""
    found = [re.fullmatch(r"stages\.(\d+)\.blocks\.(\d+)\.gamma", name) for name in state]
    blocks = {(int(match[1]), int(match[2])) for match in found if match}
    stages = 1 + max((stage for stage, _ in blocks), default=-1)
    depths = tuple(sum(1 for own, _ in blocks if own == stage) for stage in range(stages))
    expected = {(stage, block) for stage, depth in enumerate(depths) for block in range(depth)}
    if not depths or 0 in depths or blocks != expected or "stem.0.weight" not in state:
        raise ModelError(
            f"not the weights of a ConvNeXt: they begin with {', '.join(sorted(state)[:3])}",
            where=where,
            mend="names must be timm's or Meta's",
        )
    return depths, tuple(state[f"stages.{stage}.blocks.0.gamma"].numel() for stage in range(len(depths)))
