"""Dynamic hierarchical memory (DHML, arXiv 2502.11381): what a cluster looked like lately and over a long time.

Both forms are used alike: `begin_epoch` once per clustering, then per batch `update` and a contrastive loss against
`centroids()`, which hold no gradient; `takes_batch_first` says in which order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from tilefix.errors import ModelError
from tilefix_training.method.memory import follow


class Hierarchy(Protocol):
    """A short- and a long-term memory of the clusters of one view.

    `takes_batch_first`: `update` comes before the loss of the same batch, not after it.
    """

    takes_batch_first: ClassVar[bool]

    def begin_epoch(self, features: Tensor, labels: Tensor) -> None:
        """Takes the descriptors (n, d) of all images and their clusters (n,), -1 for none."""

    def update(self, features: Tensor, indices: Tensor, labels: Tensor) -> None:
        """Takes a batch: normalised features (b, d), which images they show (b,), and their clusters (b,)."""

    def centroids(self) -> Tensor:
        """What is contrasted against, (k, d), without gradient."""

    def state(self) -> dict[str, Tensor]:
        """What `load` needs to go on from here; empty before the first epoch."""

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Takes a `state()`; raises `ModelError` for one of another kind."""


class EpochHierarchy:
    """As published: both memories start from zero in every epoch, and what is contrasted against is not normalised.

    Per batch, with f the features and y their clusters: S[y] <- short_gain * f + short_keep * S[y];
    a = sigmoid(mean of |f - S[y]|); L[y] <- a * S[y] + (1 - a) * L[y]; K = long_weight * L + short_weight * S.
    Of several images of one cluster in a batch the last one counts. A cluster not yet seen is a row of zeros.
    """

    takes_batch_first: ClassVar[bool] = True

    def __init__(
        self,
        *,
        short_gain: float = 0.2,
        short_keep: float = 0.7,
        long_weight: float = 0.7,
        short_weight: float = 0.3,
    ) -> None:
        self.short_gain, self.short_keep = short_gain, short_keep
        self.long_weight, self.short_weight = long_weight, short_weight
        self.short, self.long = torch.zeros(0, 0), torch.zeros(0, 0)

    def begin_epoch(self, features: Tensor, labels: Tensor) -> None:
        """Forgets everything; `features` only say how many numbers a row has, and where it lives."""
        self.short = features.new_zeros(_clusters(labels), features.shape[1])
        self.long = torch.zeros_like(self.short)

    def update(self, features: Tensor, indices: Tensor, labels: Tensor) -> None:  # noqa: ARG002
        """Equations above, for one batch."""
        if not len(features):
            return
        features = features.detach().to(self.short.dtype)
        last = ~torch.triu(labels[:, None] == labels[None, :], diagonal=1).any(dim=1)
        chosen = labels[last]
        self.short[chosen] = self.short_gain * features[last] + self.short_keep * self.short[chosen]
        share = torch.sigmoid((features - self.short[labels]).norm(dim=1).mean())
        self.long[chosen] = share * self.short[chosen] + (1.0 - share) * self.long[chosen]

    def centroids(self) -> Tensor:
        """K (k, d): its rows are shorter than 1, and zero before a cluster is seen."""
        return self.long_weight * self.long + self.short_weight * self.short

    def state(self) -> dict[str, Tensor]:
        """Both memories."""
        return {"short": self.short, "long": self.long} if self.short.numel() else {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Puts both memories back."""
        if state:
            _expect(state, {"short", "long"})
            self.short, self.long = state["short"].clone(), state["long"].clone()


class PersistentHierarchy:
    """Long-term memory that outlives an epoch: a row per image, since clusters change and images do not.

    Every row is a moving average of the unit features of its image, over epochs (`epoch_momentum`, with the descriptors
    that are clustered) and within them (`row_momentum`, with those of training). A cluster's long-term centroid is the
    normalised mean of its members' rows; its short-term one starts as the mean of its members' descriptors and
    follows the batches with `short_momentum`. K = normalise(long_weight * long + short_weight * short). Momenta weigh
    the old value.
    """

    takes_batch_first: ClassVar[bool] = False

    def __init__(
        self,
        *,
        epoch_momentum: float = 0.5,
        row_momentum: float = 0.8,
        short_momentum: float = 0.5,
        long_weight: float = 0.7,
        short_weight: float = 0.3,
    ) -> None:
        self.epoch_momentum, self.row_momentum, self.short_momentum = epoch_momentum, row_momentum, short_momentum
        self.long_weight, self.short_weight = long_weight, short_weight
        self.rows, self.sums, self.short = torch.zeros(0, 0), torch.zeros(0, 0), torch.zeros(0, 0)

    def begin_epoch(self, features: Tensor, labels: Tensor) -> None:
        """Mixes the descriptors into the rows and sums these up by cluster.

        Raises `ModelError` when there are other images, or other descriptors, than in the epochs before.
        """
        fresh = F.normalize(features.detach(), dim=1)
        if self.rows.numel():
            if self.rows.shape != fresh.shape:
                raise ModelError(
                    f"the memory has {tuple(self.rows.shape)} and the descriptors {tuple(fresh.shape)}",
                    mend="start a new run when the pictures or the network have changed",
                )
            old = self.rows.to(fresh)
            self.rows = F.normalize(self.epoch_momentum * old + (1.0 - self.epoch_momentum) * fresh, dim=1)
        else:
            self.rows = fresh
        kept = labels >= 0
        zeros = fresh.new_zeros(_clusters(labels), fresh.shape[1])
        self.sums = zeros.index_add(0, labels[kept], self.rows[kept])
        self.short = F.normalize(zeros.index_add(0, labels[kept], fresh[kept]), dim=1)

    def update(self, features: Tensor, indices: Tensor, labels: Tensor) -> None:
        """One batch; an image may stand in it more than once."""
        if not len(features):
            return
        features = F.normalize(features.detach().to(self.rows.dtype), dim=1)
        follow(self.short, features, labels, self.short_momentum)
        once, position = _first(indices)
        touched = indices[once]
        before = self.rows[touched]
        after = before.clone()
        follow(after, features, position, self.row_momentum)
        self.rows[touched] = after
        self.sums.index_add_(0, labels[once], after - before)

    def centroids(self) -> Tensor:
        """K (k, d), L2-normalised."""
        long = F.normalize(self.sums, dim=1)
        return F.normalize(self.long_weight * long + self.short_weight * self.short, dim=1)

    def state(self) -> dict[str, Tensor]:
        """The images' rows, and the clusters' sums and short-term memory."""
        return {"rows": self.rows, "sums": self.sums, "short": self.short} if self.rows.numel() else {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Puts them back."""
        if state:
            _expect(state, {"rows", "sums", "short"})
            self.rows, self.sums, self.short = (state[name].clone() for name in ("rows", "sums", "short"))


def _clusters(labels: Tensor) -> int:
    return int(labels.max()) + 1 if len(labels) else 0


def _first(indices: Tensor) -> tuple[Tensor, Tensor]:
    """Which are the first of their value (b,), and the position of everyone's value among these (b,)."""
    equal = indices[:, None] == indices[None, :]
    once = ~torch.tril(equal, diagonal=-1).any(dim=1)
    number = torch.cumsum(once.long(), dim=0) - 1
    return once, number[equal.int().argmax(dim=1)]


def _expect(state: Mapping[str, Tensor], names: set[str]) -> None:
    if set(state) != names:
        raise ModelError(
            f"the memory holds {sorted(state)}, not {sorted(names)}", mend="resume with the same hierarchy"
        )
