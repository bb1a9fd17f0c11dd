"""Information consistency evolution learning (ICEL, arXiv 2502.11381): neighbourhoods that nobody labelled.

Three losses over a memory of images (n, d), of the same view or of the other one. All take L2-normalised features,
compute in float32 and send no gradient into a memory.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tilefix_training.method.losses import products


def neighbourhood_loss(
    queries: Tensor, own_rows: Tensor, memory: Tensor, ratio: float = 0.9, temperature: float = 0.05
) -> Tensor:
    """Draws queries (b, d) to the memory rows that are near their own: mean of sum over P_i of -log p_ij, by |P_i| + 1.

    P_i, the dynamic neighbourhood, are the rows j with own_row_i . m_j > ratio * max_j of the same; it holds the own
    row of the image when `memory` is of its view. p_i = softmax(query_i . memory^T / temperature). Without any positive
    similarity an image has no neighbours and adds nothing.
    """
    with torch.no_grad():
        near = products(own_rows, memory)
        near = near > ratio * near.max(dim=1, keepdim=True).values
    minus_log = -_log_neighbours(queries, memory, temperature)
    return ((minus_log * near).sum(dim=1) / (near.sum(dim=1) + 1)).mean()


def consistency_loss(first: Tensor, second: Tensor, memory: Tensor, temperature: float = 0.05) -> Tensor:
    """How differently two looks at the same images (b, d) see the memory, in nats; 0 when they agree.

    Half of KL(p || q) + KL(q || p), where p and q are the softmax over the memory of `first` and of `second`, and each
    is moved towards the other held fixed. `second` may be another augmentation, or the images' own memory rows: then
    only `first` gets a gradient.
    """
    p = _log_neighbours(first, memory, temperature)
    q = _log_neighbours(second, memory, temperature)
    to_first = F.kl_div(p, q.detach(), reduction="batchmean", log_target=True)
    to_second = F.kl_div(q, p.detach(), reduction="batchmean", log_target=True)
    return 0.5 * (to_first + to_second)


def information_loss(queries: Tensor, memory: Tensor, temperature: float = 0.05) -> Tensor:
    """Minus the mutual information between the images of the batch and the memory's rows, in nats.

    mean_i H(p_i) - H(mean_i p_i), with p_i as in `neighbourhood_loss`: least, -log b, when every image is sure of rows
    that no other image chooses; 0 when all see the same. b images say nothing of more than b rows.
    """
    log_p = _log_neighbours(queries, memory, temperature)
    of_each = -(log_p.exp() * log_p).sum(dim=1).mean()
    log_mean = torch.logsumexp(log_p, dim=0) - torch.log(torch.tensor(float(len(queries)), device=log_p.device))
    of_all = -(log_mean.exp() * log_mean).sum()
    return of_each - of_all


def _log_neighbours(queries: Tensor, memory: Tensor, temperature: float) -> Tensor:
    return F.log_softmax(products(queries, memory) / temperature, dim=1)
