"""What all networks share: how a feature map becomes a descriptor, with ground that is masked out left aside."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


class Network(nn.Module):
    """Patches (n, 3, p, p) as `tilefix.preprocess.to_input` gives them -> descriptors (n, descriptor_dim), L2 norm 1.

    Pixels that are 0 in all three channels are those masked out: they count neither in the input's standardisation
    nor in the pooling. `encode` works picture by picture, so that processes may share a batch between them;
    `descriptors` looks at the batch as a whole. Subclasses give `feature_map` and `finish`.

    `feature_dim`: channels of the feature map. `pool_grid`: the descriptor holds the mean feature of each of
    pool_grid x pool_grid cells; 1 is the plain global average. `standardise_input`: each picture gets mean 0 and
    deviation 1 per channel over the ground that it shows, which takes out exposure and white balance. `neck`: a batch
    normalisation without parameters takes out what all descriptors have in common; with it a network trained from
    nothing does not drift away from its memories.
    """

    config: Any  # of the subclass

    def __init__(self, feature_dim: int, *, pool_grid: int, standardise_input: bool, neck: bool) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.pool_grid = pool_grid
        self.standardise_input = standardise_input
        self.neck: nn.Module = nn.BatchNorm1d(feature_dim, affine=False) if neck else nn.Identity()

    @property
    def descriptor_dim(self) -> int:
        """Length of the descriptor."""
        return self.feature_dim * self.pool_grid**2

    def feature_map(self, x: Tensor) -> Tensor:
        """(n, 3, p, p) -> (n, feature_dim, h, h)."""
        raise NotImplementedError

    def finish(self, cells: Tensor) -> Tensor:
        """The layers after pooling, on (n, g * g, feature_dim)."""
        return cells

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean features of the cells (n, g * g, feature_dim), and the share of ground in each (n, g * g), 0 to 1."""
        valid = (x != 0).any(dim=1, keepdim=True).to(x.dtype)
        if self.standardise_input:
            x = standardise(x, valid)
        features = self.feature_map(x).float()  # the head in full precision, also under autocast
        weight = F.adaptive_avg_pool2d(valid, features.shape[-1]) + 1e-6
        coverage = F.adaptive_avg_pool2d(weight, self.pool_grid)
        cells = F.adaptive_avg_pool2d(features * weight, self.pool_grid) / coverage
        return self.finish(cells.flatten(2).transpose(1, 2)).float(), coverage.flatten(1).clamp(0.0, 1.0)

    def descriptors(self, cells: Tensor, coverage: Tensor, *, raw: bool = False) -> Tensor:
        """Descriptors (n, descriptor_dim) of a batch that `encode` gave; `raw` leaves out the L2 normalisation only.

        In training mode the neck takes the statistics of all the cells given: give it the whole batch at once.
        """
        cells = self.neck(cells.flatten(0, 1)).view_as(cells)
        # A cell without ground says nothing: its share of the descriptor goes to 0 with its coverage.
        flat = (cells * coverage.unsqueeze(2).sqrt()).flatten(1)
        return flat if raw else F.normalize(flat, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.descriptors(*self.encode(x))


class Encoder(nn.Module):
    """`encode` as a module of its own: what `DistributedDataParallel` wraps, as that calls `forward` only."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.encode(x)


def standardise(x: Tensor, valid: Tensor) -> Tensor:
    """Mean 0 and deviation 1 per picture and channel over its valid pixels; the others stay 0."""
    count = valid.sum(dim=(2, 3), keepdim=True).clamp_min(1.0)
    centred = (x - x.sum(dim=(2, 3), keepdim=True) / count) * valid
    variance = centred.square().sum(dim=(2, 3), keepdim=True) / count
    return centred / (variance + 1e-3).sqrt()
