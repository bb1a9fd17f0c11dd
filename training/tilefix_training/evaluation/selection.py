"""What choosing an epoch without labels costs: the epoch that each rule takes, and how far it is from the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

LAST, BEST = "last", "best by test"


@dataclass(frozen=True)
class Selection:
    """`epoch`: the one chosen; `score`: of it on the test; `short`: of the best epoch's. `rank_correlation`: of the
    criterion with the score over the epochs (Spearman); 0 where either never changes, `None` for "last"."""

    epoch: int
    score: float
    short: float
    rank_correlation: float | None = None


def selections(criteria: Sequence[Mapping[str, float] | None], scores: Sequence[float]) -> dict[str, Selection]:
    """Each rule's choice, from the criteria and test scores of all epochs in order.

    Rules: "last"; every criterion's largest value, the later epoch where several have it, over the epochs that have the
    criterion; and "best by test", which no run may use.
    """
    if not scores or len(criteria) != len(scores):
        raise ValueError(f"{len(criteria)} epochs with criteria and {len(scores)} with scores")
    best = max(scores)
    found = {LAST: Selection(len(scores) - 1, scores[-1], best - scores[-1])}
    for name in dict.fromkeys(name for values in criteria for name in values or {}):
        epochs = [epoch for epoch, values in enumerate(criteria) if name in (values or {})]
        values = [(criteria[epoch] or {})[name] for epoch in epochs]
        chosen = epochs[max(range(len(values)), key=lambda i: (values[i], i))]
        tested = [scores[epoch] for epoch in epochs]
        varies = len(set(values)) > 1 and len(set(tested)) > 1
        correlation = float(spearmanr(values, tested).statistic) if varies else 0.0
        found[name] = Selection(chosen, scores[chosen], best - scores[chosen], correlation)
    found[BEST] = Selection(int(np.argmax(scores)), best, 0.0)
    return found


def table(runs: Sequence[Mapping[str, Selection]]) -> str:
    """Every rule over several runs: mean and largest shortfall in percentage points, and mean rank correlation."""
    lines = [f"{'rule':<14} {'runs':>4} {'score':>7} {'short':>7} {'worst':>7} {'correlation':>11}"]
    for name in dict.fromkeys(name for run in runs for name in run):
        chosen = [run[name] for run in runs if name in run]
        short = [100 * one.short for one in chosen]
        correlations = [one.rank_correlation for one in chosen if one.rank_correlation is not None]
        last = f"{np.mean(correlations):>11.2f}" if correlations else f"{'-':>11}"
        score = 100 * np.mean([one.score for one in chosen])
        lines.append(f"{name:<14} {len(chosen):>4} {score:>7.1f} {np.mean(short):>7.1f} {max(short):>7.1f} {last}")
    return "\n".join(lines)
