"""The optimiser of a run and its learning rate over time."""

from __future__ import annotations

import math

import torch

from tilefix_training.config import FitConfig
from tilefix_training.network.base import Network


def open_optimiser(network: Network, config: FitConfig) -> torch.optim.Optimizer:
    """As configured; weight decay on matrices and kernels only, unless on all."""
    settings = config.optimiser
    parameters = list(network.parameters())
    decayed = [p for p in parameters if settings.decay_all or p.ndim > 1]
    others = [p for p in parameters if not (settings.decay_all or p.ndim > 1)]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if settings.kind == "sgd":
        return torch.optim.SGD(groups, lr=settings.learning_rate, momentum=0.9)
    return torch.optim.AdamW(groups, lr=settings.learning_rate)


def set_rate(optimiser: torch.optim.Optimizer, config: FitConfig, epochs: float) -> float:
    """Sets and gives the learning rate after so many epochs: in steps, or warmed up over the first 5 %, then a cosine
    down to a hundredth."""
    settings = config.optimiser
    if settings.schedule == "step":
        factor = settings.step_factor ** (math.floor(epochs) // settings.step_epochs)
    else:
        progress = epochs / config.run.epochs
        factor = 0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * progress))
        factor *= min(1.0, (progress + 1e-3) / 0.05)
    for group in optimiser.param_groups:
        group["lr"] = settings.learning_rate * factor
    return settings.learning_rate * factor
