"""The reset counter: one more exactly when the position jumped. Pure.

An autopilot that sees the counter change takes the new position as it is; without the change it holds it against its
own estimate and rejects it for seconds. A correction that the error stated before explains is no jump: its own filter
weighs it. The test is on what was sent: the last position carried on by its velocity, its covariance grown by the doubt
of that velocity and of what the vehicle may have done since.
"""

from __future__ import annotations

from tilefix.geodesy import offset_m
from tilefix.publishing.position import Position
from tilefix.types import Covariance

# Squared Mahalanobis distance, two degrees of freedom: five sigma. Below the distance nothing is a jump.
_JUMP2 = 25.0
_LEAST_M = 5.0
_ACCELERATION_MPS2 = 1.0
_GROWS_S = 30.0


class ResetCounter:
    """Counts jumps of what is sent; `value` goes into the message."""

    def __init__(self) -> None:
        self.value = 0
        self._last: Position | None = None

    def would_jump(self, position: Position) -> bool:
        """True when a position, were it sent, would be a jump against the one sent before."""
        return self._last is not None and _jumped(self._last, position)

    def value_after(self, *, jumped: bool) -> int:
        """What the counter shows with it."""
        return (self.value + jumped) % 256

    def take(self, position: Position, *, jumped: bool) -> None:
        """Notes a position that is sent."""
        self.value = self.value_after(jumped=jumped)
        self._last = position


def _jumped(last: Position, position: Position) -> bool:
    seconds = max((position.at_ns - last.at_ns) / 1e9, 0.0)
    expected = last.carried(position.at_ns)
    east_m, north_m = offset_m(position.lat_deg, position.lon_deg, expected.lat_deg, expected.lon_deg)
    if east_m * east_m + north_m * north_m < _LEAST_M * _LEAST_M:
        return False
    known_s = min(seconds, _GROWS_S)
    moved = (last.speed_sigma_mps * known_s) ** 2 + (0.5 * _ACCELERATION_MPS2 * known_s * known_s) ** 2
    before, after = last.covariance_m2, position.covariance_m2
    # The receiver's position and a picture's err each on their own; two of one belief do not.
    own = 1.0 if last.mirrored is not position.mirrored else 0.0
    covariance = Covariance(
        before.ee + moved + own * after.ee, before.en + own * after.en, before.nn + moved + own * after.nn
    )
    return covariance.mahalanobis2(east_m, north_m) > _JUMP2
