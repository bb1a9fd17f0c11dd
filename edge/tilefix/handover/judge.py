"""Who is right when vision and GNSS differ. Pure.

Vision earns credit by agreeing with GNSS for a while, and loses it when its fixes break off or jump against their own
motion. Only with credit, and while fixes come steadily, a contradiction is held against GNSS; without it the same
contradiction says that vision is biased. Whether a constant difference is the map's or the receiver's, no difference
alone can tell: what was there from the start is vision's, what came later without a jump of vision is the receiver's.
"""

from __future__ import annotations

from collections import deque

from tilefix.geodesy import apart_m, moved
from tilefix.handover.compare import Comparer, Comparison
from tilefix.handover.scoring import Calibration, Score, ShadowScore, Verdict
from tilefix.handover.settings import HandoverSettings
from tilefix.handover.spoofing import SpoofWatch
from tilefix.links.messages import GnssReceiver
from tilefix.types import Fix, FixKind, NoFix

_STEADY_NS = 10_000_000_000
STEADY_SHARE = 0.6  # of answers that must be fixes
_SURE_M = 10.0  # a fix less certain than this proves nothing
_FRESH_NS = 2_500_000_000
# A fix that lies so far from where the one before and its velocity put it is another place, not an error.
# Of 4600 pairs on generated flights the worst was 4.7 m off within half a second; velocities lag in turns.
VISION_JUMP_M, _LAG_MPS = 6.0, 4.0
_BROKEN_OFF_NS = 20_000_000_000  # without a fix for so long what comes next may be another place


class Judge:
    """Compares each fix with the receiver, scores vision and watches for spoofing."""

    def __init__(self, settings: HandoverSettings | None = None) -> None:
        self.settings = settings or HandoverSettings()
        self._comparer = Comparer(self.settings.gnss_delay_ms)
        self._shadow = ShadowScore(self.settings)
        self._watch = SpoofWatch()
        self._answers: deque[tuple[int, bool]] = deque()
        self._fix: Fix | None = None
        self._credit = False
        self._calibration = Calibration()
        self._stretch = 1.0  # of vision's variances, by the window or by the minutes before
        self._compared_ns: int | None = None
        self.comparison: Comparison | None = None

    def hear(self, receiver: GnssReceiver) -> None:
        """Takes in what the receiver said."""
        self._comparer.take(receiver)

    def distrust(self) -> None:
        """Takes vision's credit away: its belief was made anew."""
        self._fix, self._credit, self._stretch = None, False, 1.0
        self._calibration = Calibration()
        self._shadow.clear()
        self._watch.clear()

    def saw(self, estimate: Fix | NoFix, *, gnss_good: bool) -> None:
        """Takes in vision's answer to a frame. `gnss_good`: the receiver is believed, so that it may score vision."""
        self._answers.append((estimate.at_ns, _is_sure(estimate)))
        while estimate.at_ns - self._answers[0][0] > _STEADY_NS:
            self._answers.popleft()
        if not isinstance(estimate, Fix) or estimate.kind is not FixKind.FIX:
            return
        if self._jumped(estimate):
            self.distrust()
        self._fix = estimate
        self.comparison = self._comparer.compare(estimate)
        if self.comparison is None:
            return
        self._compared_ns = estimate.at_ns
        self._watch.add(self.comparison, self._stretch)
        if gnss_good and not (self._watch.alarmed and self._credit):
            score = self._shadow.add(self.comparison)
            self._credit = self._credit or score.verdict is Verdict.CONSISTENT
            if self._credit and self._watch.level == 0.0:
                self._calibration.note(self.comparison)
                self._stretch = min(max(self._calibration.stretch, score.stretch**2), Calibration.MOST)

    def _jumped(self, fix: Fix) -> bool:
        before = self._fix
        if before is None or fix.at_ns <= before.at_ns:
            return False
        if fix.at_ns - before.at_ns > _BROKEN_OFF_NS:
            return True
        seconds = (fix.at_ns - before.at_ns) / 1e9
        velocities = (
            before.velocity_east_mps,
            before.velocity_north_mps,
            fix.velocity_east_mps,
            fix.velocity_north_mps,
        )
        if None in velocities:
            return False
        numbers = [float(one or 0.0) for one in velocities]
        east_mps, north_mps = 0.5 * (numbers[0] + numbers[2]), 0.5 * (numbers[1] + numbers[3])
        there = moved(before.lat_deg, before.lon_deg, east_mps * seconds, north_mps * seconds)
        off_m = apart_m(fix.lat_deg, fix.lon_deg, *there)
        return off_m > VISION_JUMP_M + _LAG_MPS * seconds

    @property
    def score(self) -> Score:
        """How good vision is against good GNSS."""
        return self._shadow.score

    @property
    def credit(self) -> bool:
        """True once vision agreed with good GNSS, until its fixes jump or break off."""
        return self._credit

    def steady(self, now_ns: int) -> bool:
        """True while sure fixes come: most answers of the last seconds are fixes, the newest of them fresh."""
        if self._fix is None or now_ns - self._fix.at_ns > _FRESH_NS or not _is_sure(self._fix):
            return False
        sure = sum(one for _, one in self._answers)
        return sure >= STEADY_SHARE * len(self._answers)

    @property
    def contradicts(self) -> bool:
        """True while vision and the receiver contradict each other, whoever is wrong."""
        return self._watch.alarmed

    @property
    def level(self) -> float:
        """How near the contradiction is to counting as one, 1 at that."""
        return self._watch.level

    def spoofed(self, now_ns: int) -> bool:
        """True while the contradiction is the receiver's fault: vision has credit and is steady."""
        return self._watch.alarmed and self._credit and self.steady(now_ns)

    def agrees_for_s(self, now_ns: int) -> float:
        """Seconds for which every comparison with the receiver agreed."""
        return self._watch.agrees_for_s(now_ns)

    def compared_lately(self, now_ns: int) -> bool:
        """True while fixes are being laid beside the receiver."""
        return self._compared_ns is not None and now_ns - self._compared_ns <= _FRESH_NS


def _is_sure(estimate: Fix | NoFix) -> bool:
    return isinstance(estimate, Fix) and estimate.kind is FixKind.FIX and estimate.sigma_m <= _SURE_M
