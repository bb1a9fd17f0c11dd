"""The contrastive loss of one view."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def cluster_nce(features: Tensor, labels: Tensor, centroids: Tensor, temperature: float) -> Tensor:
    """Mean over the batch of -log softmax(f . C^T / temperature)[label]: InfoNCE against one vector per class.

    `features` (b, d) and `centroids` (k, d) are L2-normalised; the gradient goes to `features` only.
    van den Oord et al., arXiv 1807.03748, equation 4, with the class memory of arXiv 2103.11568.
    """
    return F.cross_entropy(features @ centroids.detach().T / temperature, labels)
