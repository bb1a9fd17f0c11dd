"""The network: a ConvNeXt of any depth and width, with the parameter names that timm uses.

Liu et al., "A ConvNet for the 2020s" (arXiv 2201.03545). With timm's names, published ConvNeXt weights load as they
are (`weights.load_weights`): `Backbone(PUBLISHED)` is ConvNeXt-Tiny.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tilefix_training.network.base import Network

INITS = ("fan_in", "published")


@dataclass(frozen=True)
class BackboneConfig:
    """Depth and width of the four stages, what surrounds them, and what they start from.

    `pool_grid`, `standardise_input`, `neck`: see `Network`. `layer_scale`: what each block's scale starts at. `init`:
    "published" draws every kernel with a deviation of 0.02, as the paper does for wide layers and long training;
    "fan_in" with one over the square root of its inputs, for narrow networks that start from nothing.
    """

    depths: tuple[int, ...] = (2, 2, 4, 2)
    dims: tuple[int, ...] = (32, 64, 128, 256)
    pool_grid: int = 1
    standardise_input: bool = True
    neck: bool = True
    layer_scale: float = 0.5
    init: str = "fan_in"

    @property
    def descriptor_dim(self) -> int:
        """Length of the descriptor."""
        return self.dims[-1] * self.pool_grid**2


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of (n, c, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps).permute(
            0, 3, 1, 2
        )


class Mlp(nn.Module):
    """Two linear layers over the last axis, four times as wide between them."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, 4 * dim)
        self.fc2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.fc2(F.gelu(self.fc1(x))))


class Block(nn.Module):
    """Depthwise 7 x 7, layer norm, MLP, layer scale, residual."""

    def __init__(self, dim: int, layer_scale: float) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim)
        self.gamma = nn.Parameter(torch.full((dim,), layer_scale))

    def forward(self, x: Tensor) -> Tensor:
        y = self.mlp(self.norm(self.conv_dw(x).permute(0, 2, 3, 1))) * self.gamma
        return x + cast(Tensor, y).permute(0, 3, 1, 2)


class Stage(nn.Module):
    """Halves the picture where `in_dim` differs from `dim`, then runs its blocks."""

    def __init__(self, in_dim: int, dim: int, depth: int, layer_scale: float) -> None:
        super().__init__()
        self.downsample = (
            nn.Sequential(LayerNorm2d(in_dim, eps=1e-6), nn.Conv2d(in_dim, dim, 2, stride=2))
            if in_dim != dim
            else nn.Identity()
        )
        self.blocks = nn.Sequential(*(Block(dim, layer_scale) for _ in range(depth)))

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.blocks(self.downsample(x)))


class Backbone(Network):
    """The ConvNeXt of a configuration, newly initialised from torch's global generator."""

    def __init__(self, config: BackboneConfig) -> None:
        dims = config.dims
        super().__init__(
            dims[-1], pool_grid=config.pool_grid, standardise_input=config.standardise_input, neck=config.neck
        )
        self.config = config
        self.stem = nn.Sequential(nn.Conv2d(3, dims[0], 4, stride=4), LayerNorm2d(dims[0], eps=1e-6))
        self.stages = nn.Sequential(
            *(
                Stage(before, dim, depth, config.layer_scale)
                for before, dim, depth in zip((dims[0], *dims[:-1]), dims, config.depths, strict=True)
            )
        )
        self.head = nn.Sequential()
        self.head.add_module("norm", nn.LayerNorm(dims[-1], eps=1e-6))
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                std = 0.02 if config.init == "published" else module.weight[0].numel() ** -0.5
                nn.init.trunc_normal_(module.weight, std=std)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def feature_map(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.stages(self.stem(x)))

    def finish(self, cells: Tensor) -> Tensor:
        return cast(Tensor, self.head(cells))


def _published(depths: tuple[int, ...], dims: tuple[int, ...]) -> BackboneConfig:
    """A ConvNeXt as published: the global average and its final norm, nothing before and nothing after."""
    return BackboneConfig(
        depths, dims, pool_grid=1, standardise_input=False, neck=False, layer_scale=1e-6, init="published"
    )


PUBLISHED = _published((3, 3, 9, 3), (96, 192, 384, 768))

# The convnext-* have the depths and widths of timm's models of these names, so that their weights load.
BACKBONES: dict[str, BackboneConfig] = {
    "convnext-tiny": PUBLISHED,
    "convnext-nano": _published((2, 2, 8, 2), (80, 160, 320, 640)),
    "convnext-pico": _published((2, 2, 6, 2), (64, 128, 256, 512)),
    "convnext-femto": _published((2, 2, 6, 2), (48, 96, 192, 384)),
    "convnext-atto": _published((2, 2, 6, 2), (40, 80, 160, 320)),
    "tilefix-s": BackboneConfig(pool_grid=2),  # the shipped model's
    "tilefix-xs": BackboneConfig((1, 1, 3, 1), (24, 48, 96, 192), pool_grid=2),
    "tilefix-xxs": BackboneConfig((1, 1, 3, 1), (16, 32, 64, 128), pool_grid=2),
}
