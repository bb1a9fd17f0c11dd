"""The grid with what its rivals in `compare_beliefs.py` have beside it: peaks that lie a cell beside the place.

An attitude that errs by a third of a degree shows the place 3 m aside from 500 m above: a cell of the grid. Particles
and hypotheses look for their evidence a cell around; this grid does, too, so that what they gain by that is told apart
from what they gain by being particles or hypotheses.
"""

from __future__ import annotations

import numpy as np

from tilefix.localization.belief import MODE_REACH_CELLS, Belief, Mode
from tilefix.types import Float32Array

ASIDE = np.float32(0.5)  # of a cell's step, in log ratio: a standard deviation of one cell
UNSEEN = np.float32(-1e6)


class TolerantGrid(Belief):
    """A grid whose cells take the best evidence of those around them, and whose modes reach a cell further."""

    def update(self, log_ratio: Float32Array, new_ground: float) -> None:
        """Weighs in one frame. `log_ratio`: NaN where nobody looked."""
        super().update(spread_aside(log_ratio), new_ground)

    def mode(self, reach: int = MODE_REACH_CELLS) -> Mode:
        """The most probable place, with what lies within `reach` cells of it and one more."""
        return super().mode(reach + 1)


def spread_aside(log_ratio: Float32Array) -> Float32Array:
    """The best of each cell's evidence and its eight neighbours' less their squared distance times `ASIDE`; NaN stays.

    A squared distance is a sum over the axes, so that rows and columns are taken one after the other.
    """
    seen = np.isfinite(log_ratio)
    best = np.where(seen, log_ratio, UNSEEN)
    for axis in (0, 1):
        before, after = (slice(None),) * axis + (slice(1, None),), (slice(None),) * axis + (slice(None, -1),)
        aside = best - ASIDE
        np.maximum(best[before], aside[after], out=best[before])
        np.maximum(best[after], aside[before], out=best[after])
    return np.where(seen, best, np.float32(np.nan))
