"""From what a map shows of itself at a place to the chance that a frame taken there matches.

Logistic regression on frames of generated worlds and of aerial surveys years apart, as the localizer's own parts see
them (`tools/evaluate_distinctiveness.py`, which prints these figures); docs/results.md tells how well it holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from tilefix.mapcheck.traits import Traits
from tilefix.types import Float64Array

# Shares are taken as log2(share / (1 - share)): a rival nearly as good as the place itself leaves next to no chance.
_SHARES = frozenset(("structure", "coarse", "near_rival", "far_rival"))
_SHARE_RANGE = (0.01, 0.99)
# Constant, then one weight for each trait in the order of `Traits`.
MATCH_WEIGHTS = (-15.209, 0.747, 0.772, 0.282, -0.648, -0.540, 1.654)
FOUND_WEIGHTS = (-20.043, 0.970, 1.050, 0.253, -0.740, -0.923, 1.794)


@dataclass(frozen=True, slots=True)
class Chances:
    """Of one frame. `match`: it matches at the right place, that being known within metres. `found`: it is told from
    every other place of the map at once, place unknown; if not, it is ambiguous or does not match."""

    match: float
    found: float


def regressors(traits: Traits) -> Float64Array:
    """A one, then the traits as the regression takes them: float64 (7,)."""
    values = [1.0]
    for one in fields(traits):
        value = float(getattr(traits, one.name))
        if one.name in _SHARES:
            share = min(max(value, _SHARE_RANGE[0]), _SHARE_RANGE[1])
            value = math.log2(share / (1.0 - share))
        values.append(value)
    return np.array(values, np.float64)


def chances(traits: Traits) -> Chances:
    """The chances of a frame taken where the map has those traits."""
    x = regressors(traits)
    match, found = (1.0 / (1.0 + math.exp(-float(x @ np.array(w)))) for w in (MATCH_WEIGHTS, FOUND_WEIGHTS))
    return Chances(match, min(found, match))
