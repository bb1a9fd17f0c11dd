"""The network: a ConvNeXt of any depth and width, with the parameter names that timm uses.

Liu et al., "A ConvNet for the 2020s" (arXiv 2201.03545). With timm's names, published ConvNeXt weights load as they
are: `Backbone(BackboneConfig(depths=(3, 3, 9, 3), dims=(96, 192, 384, 768)))` is ConvNeXt-Tiny.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class BackboneConfig:
    """Depth and width of the four stages, and what surrounds them.

    `pool_grid`: the descriptor holds the mean feature of each of pool_grid x pool_grid cells; 1 is the plain global
    average. `standardise_input`: each picture gets mean 0 and deviation 1 per channel over the ground that it shows,
    which takes out exposure and white balance.
    """

    depths: tuple[int, ...] = (2, 2, 4, 2)
    dims: tuple[int, ...] = (32, 64, 128, 256)
    pool_grid: int = 1
    standardise_input: bool = True

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


class Backbone(nn.Module):
    """Patches (n, 3, p, p) as `tilefix.preprocess.to_input` gives them -> descriptors (n, descriptor_dim), L2 norm 1.

    Pixels that are 0 in all three channels are those masked out: they count neither in the input's standardisation
    nor in the pooling. The neck takes out what all descriptors have in common: with it a network trained from nothing
    does not drift away from its memories.
    """

    def __init__(self, config: BackboneConfig, *, layer_scale: float = 0.5) -> None:
        super().__init__()
        self.config = config
        dims = config.dims
        self.stem = nn.Sequential(nn.Conv2d(3, dims[0], 4, stride=4), LayerNorm2d(dims[0], eps=1e-6))
        self.stages = nn.Sequential(
            *(
                Stage(before, dim, depth, layer_scale)
                for before, dim, depth in zip((dims[0], *dims[:-1]), dims, config.depths, strict=True)
            )
        )
        self.head = nn.Sequential()
        self.head.add_module("norm", nn.LayerNorm(dims[-1], eps=1e-6))
        self.neck = nn.BatchNorm1d(dims[-1], affine=False)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        valid = (x != 0).any(dim=1, keepdim=True).to(x.dtype)
        if self.config.standardise_input:
            x = standardise(x, valid)
        grid = self.config.pool_grid
        features = self.stages(self.stem(x)).float()  # the head in full precision, also under autocast
        weight = F.adaptive_avg_pool2d(valid, features.shape[-1]) + 1e-6
        total = F.adaptive_avg_pool2d(weight, grid)
        cells = (F.adaptive_avg_pool2d(features * weight, grid) / total).flatten(2).transpose(1, 2)
        # A cell without ground says nothing: its share of the descriptor goes to 0 with its coverage.
        cells = self.neck(self.head(cells).flatten(0, 1)).view_as(cells)
        cells = cells * total.flatten(2).transpose(1, 2).clamp(0.0, 1.0).sqrt()
        return F.normalize(cells.flatten(1), dim=1)


def standardise(x: Tensor, valid: Tensor) -> Tensor:
    """Mean 0 and deviation 1 per picture and channel over its valid pixels; the others stay 0."""
    count = valid.sum(dim=(2, 3), keepdim=True).clamp_min(1.0)
    centred = (x - x.sum(dim=(2, 3), keepdim=True) / count) * valid
    variance = centred.square().sum(dim=(2, 3), keepdim=True) / count
    return centred / (variance + 1e-3).sqrt()


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        # Wider than the 0.02 of the paper: that is tuned for wide layers and long training.
        fan_in = module.weight[0].numel()
        nn.init.trunc_normal_(module.weight, std=fan_in**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
