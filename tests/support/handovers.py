"""Flights for the hand-over, without pictures: a vehicle that flies east, fixes on it, and a receiver."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tilefix.handover.announce import Line
from tilefix.handover.handover import Handover, Turn
from tilefix.handover.selection import Request
from tilefix.links.messages import GnssReceiver, LinkMessage, Order
from tilefix.types import Covariance, Fix, FixKind, NoFix, Reason

S = 1_000_000_000
M_PER_DEG = math.pi * 6_371_000.0 / 180.0
LAT_DEG, LON_DEG = 47.0, 8.0
SPEED_MPS = 10.0


def degrees(east_m: float, north_m: float) -> tuple[float, float]:
    across = math.cos(math.radians(LAT_DEG))
    return LAT_DEG + north_m / M_PER_DEG, LON_DEG + east_m / M_PER_DEG / across


def fix(at_s: float, east_m: float = 0.0, north_m: float = 0.0, sigma_m: float = 2.0, speed_mps: float = 0.0) -> Fix:
    """A fix off the true place by so much; the vehicle flies east at `SPEED_MPS` from the origin."""
    place = degrees(SPEED_MPS * at_s + east_m, north_m)
    variance = sigma_m * sigma_m
    return Fix(
        round(at_s * S), FixKind.FIX, *place, SPEED_MPS * at_s + east_m, north_m, Covariance(variance, 0.0, variance),
        0.1, SPEED_MPS + speed_mps, 0.0, Covariance(0.09, 0.0, 0.09),
    )  # fmt: skip


def receiver(
    at_s: float, east_m: float = 0.0, north_m: float = 0.0, *, fix_type: int = 3, delay_s: float = 0.1,
    speed_mps: float = 0.0, satellites: int | None = 14, hdop: float | None = 0.8, sigma_m: float = 1.0,
) -> GnssReceiver:  # fmt: skip
    """What the receiver is heard to say at an instant: where the vehicle was `delay_s` ago, off by so much."""
    if fix_type < 3:
        return GnssReceiver(round(at_s * S), fix_type, satellites=satellites)
    place = degrees(SPEED_MPS * (at_s - delay_s) + east_m, north_m)
    return GnssReceiver(
        round(at_s * S), fix_type, *place, 540.0, sigma_m, 1.5, 0.0, SPEED_MPS + speed_mps, satellites, hdop
    )


@dataclass
class Flight:
    """A hand-over in flight: 20 turns, 5 words of the receiver and 4 pictures a second."""

    handover: Handover = field(default_factory=Handover)
    now_s: float = 0.0
    lines: list[Line] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)
    _tick: int = 0

    def fly(
        self,
        seconds: float,
        *,
        gnss: bool = True,
        silent: bool = False,
        pull_mps: float = 0.0,
        offset_m: float = 0.0,
        vision: bool = True,
        bias_m: float = 0.0,
        sigma_m: float = 2.0,
        satellites: int = 14,
        heard: bool = True,
    ) -> Turn:
        """Flies on: `offset_m` and `pull_mps` lead the receiver north, `bias_m` shifts vision north."""
        begun_s = self.now_s
        for _ in range(round(seconds * 20)):
            self._tick += 1
            self.now_s = self._tick / 20
            pulled_m = offset_m + pull_mps * (self.now_s - begun_s)
            if self._tick % 4 == 0 and not silent:
                said = receiver(self.now_s, 0.0, pulled_m, fix_type=3 if gnss else 1, satellites=satellites)
                self.handover.hear(said)
            if self._tick % 5 == 0:
                at_s = self.now_s - 0.25
                wrong_m = bias_m + 0.5 * math.sin(at_s)
                answer: Fix | NoFix = fix(at_s, 0.5 * math.cos(at_s), wrong_m, sigma_m)
                self.handover.saw(answer if vision else NoFix(round(at_s * S), Reason.NO_MATCH))
            turn = self.handover.turn(round(self.now_s * S), heard=heard)
            self.turns.append(turn)
            self.requests.extend(turn.requests)
            line = self.handover.next_line(round(self.now_s * S))
            if line is not None:
                self.lines.append(line)
        return self.turns[-1]

    def hear(self, message: LinkMessage) -> None:
        if isinstance(message, Order):
            self.handover.hear_order(message)
        else:
            self.handover.hear(message)

    @property
    def texts(self) -> list[str]:
        return [line for _, line in self.lines]
