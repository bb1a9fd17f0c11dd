"""A way beside which traffic and water lie: along and aside of the line that a vehicle flies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tilefix.types import Float64Array

STEP_M = 5.0
SMOOTH_M = 40.0  # of a vehicle's track: roads do not follow its gusts
BEYOND_M = 3000.0  # that the line goes on at either end


class Way:
    """A smooth line through places, straight beyond both of its ends. `along` counts from the first place."""

    def __init__(self, places: Sequence[tuple[float, float]]) -> None:
        """`places`: east and north metres, two at least that lie apart."""
        track = np.asarray(places, np.float64)
        steps = np.hypot(*np.diff(track, axis=0).T)
        track = track[np.concatenate([[True], steps > 1e-6])]
        if len(track) < 2:
            raise ValueError("a way needs two places apart")
        at = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(track, axis=0).T))])
        even = np.linspace(0.0, at[-1], max(2, int(at[-1] / STEP_M) + 1))
        line = np.stack([np.interp(even, at, track[:, axis]) for axis in (0, 1)], axis=1)
        half = min(round(0.5 * SMOOTH_M / STEP_M), (len(line) - 1) // 2)
        line = np.array([_mean_around(line, k, half) for k in range(len(line))])
        first, last = line[0] - line[min(half + 1, len(line) - 1)], line[-1] - line[-min(half + 2, len(line))]
        beyond = np.arange(1, int(BEYOND_M / STEP_M) + 1)[:, None] * STEP_M
        before, after = line[0] + beyond[::-1] * first / np.hypot(*first), line[-1] + beyond * last / np.hypot(*last)
        self._line = np.concatenate([before, line, after])
        ahead = np.gradient(self._line, axis=0)
        self._ahead = ahead / np.hypot(ahead[:, 0], ahead[:, 1])[:, None]
        lengths = np.hypot(*np.diff(self._line, axis=0).T)
        self._at = np.concatenate([[0.0], np.cumsum(lengths)]) - BEYOND_M
        self.length_m = float(self._at[-1] - BEYOND_M)

    def place(self, along_m: Float64Array, aside_m: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
        """East and north metres, and the heading in radians, of places so far along and to the right of it."""
        east, north, de, dn = (
            np.interp(along_m, self._at, values)
            for values in (self._line[:, 0], self._line[:, 1], self._ahead[:, 0], self._ahead[:, 1])
        )
        return east + aside_m * dn, north - aside_m * de, np.arctan2(de, dn)

    def coordinates(self, east_m: Float64Array, north_m: Float64Array) -> tuple[Float64Array, Float64Array]:
        """(along, aside) metres of places, by the nearest point of the line."""
        middle = np.array([east_m.mean(), north_m.mean()])
        reach = float(np.hypot(east_m - middle[0], north_m - middle[1]).max())
        away = np.hypot(*(self._line - middle).T)
        near = np.flatnonzero(away <= away.min() + 2.0 * reach + STEP_M)
        line = self._line[near]
        apart2 = (east_m[..., None] - line[:, 0]) ** 2 + (north_m[..., None] - line[:, 1]) ** 2
        nearest = near[np.argmin(apart2, axis=-1)]
        off_east, off_north = east_m - self._line[nearest, 0], north_m - self._line[nearest, 1]
        de, dn = self._ahead[nearest, 0], self._ahead[nearest, 1]
        return self._at[nearest] + off_east * de + off_north * dn, off_east * dn - off_north * de

    def heading(self, along_m: float) -> tuple[float, float]:
        """East and north of the direction there, length 1."""
        k = int(np.clip(np.searchsorted(self._at, along_m), 0, len(self._at) - 1))
        return float(self._ahead[k, 0]), float(self._ahead[k, 1])


def _mean_around(line: Float64Array, k: int, half: int) -> Float64Array:
    """The mean of up to `half` points either way, as many of the one as of the other: the ends stay."""
    reach = min(half, k, len(line) - 1 - k)
    return np.asarray(line[k - reach : k + reach + 1].mean(axis=0))
