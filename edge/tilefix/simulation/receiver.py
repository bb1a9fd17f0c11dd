"""How an autopilot judges positions that come over MAVLink as a GPS receiver's. Pure.

The rules are ArduPilot's (4.5 to 4.7-dev), read in its source and flown in its simulator: a receiver counts as healthy
with a mean interval below 215 ms and never two intervals in a row above 245 ms; four seconds of silence are no fix.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from dataclasses import dataclass, field

IGNORE_ALTITUDE, IGNORE_VELOCITY = 1, 8 | 16
MEAN_INTERVAL_MS = 215.0
LONG_INTERVAL_MS = 245.0
SILENCE_S = 4.0
# ArduPilot takes the least age of the last 100 for the declared delay; 200 ms of 250 ms are then used up.
LATEST_S = 0.05
_AGES_KEPT = 100
_CLOSEST_S = 0.05  # the EKF drops what comes faster than 20 Hz
_INTERVAL_WEIGHT = 0.02
# What a lone receiver must state for ten seconds before the autopilot takes a position from it at all.
_ALIGN_S = 10.0
_ALIGN_HORIZONTAL_M, _ALIGN_VERTICAL_M, _ALIGN_SPEED_MPS, _ALIGN_SATELLITES, _ALIGN_HDOP = 5.0, 7.5, 1.0, 6, 2.5


class Verdict(enum.Enum):
    """What became of one GPS_INPUT."""

    FUSED = "fused"
    SPARE = "good, but the first receiver is used"
    WRONG_RECEIVER = "for another receiver"
    NO_FIX = "states no 3D fix"
    UNHEALTHY = "comes too slowly or irregularly"
    TOO_CLOSE = "closer than 50 ms after the one before"
    NOT_ALIGNED = "not accurate enough for long enough to start from"
    GATED = "contradicts the estimate"


class Flaw(enum.Enum):
    """What is wrong with one that is taken all the same."""

    NO_VELOCITY = "velocity ignored: fused as standing still"
    NO_ALTITUDE = "altitude ignored: taken as zero"
    LATE = "over 50 ms later than the quickest: beyond the estimator's buffer of 250 ms"


@dataclass(frozen=True, slots=True)
class GpsInput:
    """One GPS_INPUT, in plain units. `age_s`: from its own time stamp to its arrival, `None` without a stamp."""

    receiver: int
    fix_type: int
    lat_deg: float
    lon_deg: float
    amsl_m: float
    north_mps: float
    east_mps: float
    horizontal_m: float
    vertical_m: float
    speed_mps: float
    satellites: int
    hdop: float
    ignored: int
    age_s: float | None


@dataclass
class MavlinkReceiver:
    """The driver of one receiver that is fed by GPS_INPUT, and the count of its verdicts and flaws."""

    number: int
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    flaws: Counter[Flaw] = field(default_factory=Counter)
    fix_type: int = 0
    heard_s: float | None = None
    _mean_ms: float = 200.0
    _long_intervals: int = 0
    _fused_s: float = -1e9
    _aligning_since_s: float | None = None
    _ages_s: deque[float] = field(default_factory=lambda: deque(maxlen=_AGES_KEPT))

    def take(self, message: GpsInput, now_s: float, *, aligned: bool, needed: bool) -> Verdict:
        """Judges one message. `aligned`: the autopilot has a position already; `needed`: no better receiver has one.

        `FUSED` means that it goes to the estimator, which may still find it `GATED` (see `gated`).
        """
        verdict = self._judge(message, now_s, aligned=aligned, needed=needed)
        self.verdicts[verdict] += 1
        if verdict in (Verdict.FUSED, Verdict.SPARE):
            if message.ignored & IGNORE_VELOCITY:
                self.flaws[Flaw.NO_VELOCITY] += 1
            if message.ignored & IGNORE_ALTITUDE:
                self.flaws[Flaw.NO_ALTITUDE] += 1
            if message.age_s is not None:
                self._ages_s.append(message.age_s)
                if message.age_s - min(self._ages_s) > LATEST_S:
                    self.flaws[Flaw.LATE] += 1
        return verdict

    def gated(self) -> None:
        """Corrects the count: the one just judged as fused contradicted the estimate."""
        self.verdicts[Verdict.FUSED] -= 1
        self.verdicts[Verdict.GATED] += 1

    def healthy(self, now_s: float) -> bool:
        """True with a 3D fix at a sufficient, even rate."""
        fresh = self.heard_s is not None and now_s - self.heard_s <= SILENCE_S
        return fresh and self.fix_type >= 3 and self._even

    @property
    def _even(self) -> bool:
        return self._mean_ms < MEAN_INTERVAL_MS and self._long_intervals < 2

    def _judge(self, message: GpsInput, now_s: float, *, aligned: bool, needed: bool) -> Verdict:
        if message.receiver != self.number:
            return Verdict.WRONG_RECEIVER
        if self.heard_s is not None:
            interval_ms = (now_s - self.heard_s) * 1000.0
            self._mean_ms += _INTERVAL_WEIGHT * (min(interval_ms, 4000.0) - self._mean_ms)
            self._long_intervals = self._long_intervals + 1 if interval_ms > LONG_INTERVAL_MS else 0
        self.heard_s, self.fix_type = now_s, message.fix_type
        if message.fix_type < 3:
            self._aligning_since_s = None
            return Verdict.NO_FIX
        if not self._even:
            return Verdict.UNHEALTHY
        if not aligned and not self._aligns(message, now_s):
            return Verdict.NOT_ALIGNED
        if not needed:
            return Verdict.SPARE
        if now_s - self._fused_s < _CLOSEST_S - 1e-6:
            return Verdict.TOO_CLOSE
        self._fused_s = now_s
        return Verdict.FUSED

    def _aligns(self, message: GpsInput, now_s: float) -> bool:
        good = (
            message.horizontal_m < _ALIGN_HORIZONTAL_M
            and message.vertical_m < _ALIGN_VERTICAL_M
            and message.speed_mps < _ALIGN_SPEED_MPS
            and message.satellites >= _ALIGN_SATELLITES
            and message.hdop < _ALIGN_HDOP
        )
        if not good:
            self._aligning_since_s = None
        elif self._aligning_since_s is None:
            self._aligning_since_s = now_s
        return self._aligning_since_s is not None and now_s - self._aligning_since_s >= _ALIGN_S
