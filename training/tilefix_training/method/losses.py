"""The contrastive losses of one view."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def products(features: Tensor, others: Tensor, *, detach: bool = True) -> Tensor:
    """Inner products (b, n) of all rows, in float32 under autocast too: divided by a temperature, less is too coarse.

    Without gradient to `others`, unless `detach` is False.
    """
    with torch.autocast(features.device.type, enabled=False):
        return features.float() @ (others.detach() if detach else others).float().T


def cluster_nce(features: Tensor, labels: Tensor, centroids: Tensor, temperature: float) -> Tensor:
    """Mean over the batch of -log softmax(f . C^T / temperature)[label]: InfoNCE against one vector per class.

    `features` (b, d) are L2-normalised, `centroids` (k, d) as their memory gives them; the gradient goes to `features`
    only. Computed in float32.
    van den Oord et al., arXiv 1807.03748, equation 4, with the class memory of arXiv 2103.11568.
    """
    return F.cross_entropy(products(features, centroids) / temperature, labels)


def pair_nce(features: Tensor, temperature: float) -> Tensor:
    """InfoNCE inside a batch of pairs: rows 2i and 2i + 1 show one image, all other rows are others.

    Chen et al., arXiv 2002.05709, equation 1. `features` (2n, d), L2-normalised. Needs no memory, so it works while
    the network still changes faster than a memory follows.
    """
    similarity = products(features, features, detach=False) / temperature
    similarity.fill_diagonal_(float("-inf"))
    partner = torch.arange(len(features), device=features.device) ^ 1
    return F.cross_entropy(similarity, partner)
