"""A first guess near enough for least squares, when mount, field of view, time and map may all be far off.

A hypothesis of mount and focal length is scored by how far whole pictures stand out on the map (mean z-score of a few
of them), wherever they are found within reach: where, is left to least squares.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from tilefix.calibration.model import Parameters
from tilefix.calibration.pictures import TIME_REACH_S
from tilefix.calibration.sight import WHOLE, Sighter

FRAMES = 8
FEW_FRAMES = 4
FOUND_Z_SCORE = 6.0
TILT_REACH_DEG = 15.0
MAP_REACH_M = 28.0  # 20 m each way
TURN_STEP_DEG = 8.0
SCALES = (1.0, 0.9, 1.1, 0.8, 1.2)
TILTS_DEG = (-10.0, 0.0, 10.0)
CLIMB_STEPS = (6.0, 3.0, 1.5)  # degrees; percent of the focal length
BEST = 3
PLACES = 0.3  # how far a whole picture may be displaced, of its height above ground


def reach_m(sighter: Sighter) -> float:
    """How far from where it is expected a picture may lie."""
    series = sighter.pictures.series
    speed_mps = np.hypot(*np.diff(series.values[:, 4:], axis=0).T) / np.diff(series.times_s)
    agl_m = float(np.median(series.values[:, 3]))
    tilt_m = agl_m * math.tan(math.radians(TILT_REACH_DEG))
    return tilt_m + float(np.median(speed_mps)) * TIME_REACH_S + MAP_REACH_M


def first_guess(sighter: Sighter, configured: Parameters) -> tuple[Parameters, float]:
    """The best hypothesis about mount and focal length, and its score; the nearest that does is looked for first."""
    count = len(sighter.pictures.images)
    frames = _spread(count, FRAMES)
    few = _spread(count, FEW_FRAMES)
    best = _climbed(sighter, frames, configured)
    for hypotheses in (_turns(configured), _tilts(configured)):
        if best[1] >= FOUND_Z_SCORE:
            return best
        scored = sorted(_scored(sighter, few, hypotheses), key=lambda one: -one[1])
        for guess, _ in _apart(scored, BEST):
            best = max(best, _climbed(sighter, frames, guess), key=lambda one: one[1])
    return best


def score(sighter: Sighter, frames: Sequence[int], guess: Parameters) -> float:
    """Mean z-score of those pictures' best places; 0 for one that has none."""
    far_m = reach_m(sighter)
    found = (sighter.matches(number, guess, WHOLE, far_m, 0.0) for number in frames)
    return float(np.mean([max((m.peak.z_score for m in matches), default=0.0) for matches in found]))


def _scored(
    sighter: Sighter, frames: Sequence[int], hypotheses: Iterable[Parameters]
) -> Iterator[tuple[Parameters, float]]:
    return ((guess, score(sighter, frames, guess)) for guess in hypotheses)


def _climbed(sighter: Sighter, frames: Sequence[int], guess: Parameters) -> tuple[Parameters, float]:
    """Uphill from a guess, one parameter at a time, in smaller and smaller steps."""
    best = score(sighter, frames, guess)
    for step in CLIMB_STEPS:
        for name, size in (
            ("yaw_deg", step),
            ("log_focal", 0.01 * step),
            ("pitch_deg", step),
            ("roll_deg", step),
        ):
            for way in (size, -size):
                moved = replace(guess, **{name: getattr(guess, name) + way})
                reached = score(sighter, frames, moved)
                while reached > best:
                    guess, best = moved, reached
                    moved = replace(guess, **{name: getattr(guess, name) + way})
                    reached = score(sighter, frames, moved)
    return guess, best


def _turns(configured: Parameters) -> Iterator[Parameters]:
    """Every heading of the picture, and focal lengths."""
    for turn in np.arange(0.0, 360.0, TURN_STEP_DEG):
        for scale in SCALES:
            yield replace(configured, yaw_deg=configured.yaw_deg + float(turn), log_focal=math.log(scale))


def _tilts(configured: Parameters) -> Iterator[Parameters]:
    """A camera that looks elsewhere, turned by about a multiple of 90 degrees."""
    for quarter in (0.0, 90.0, 180.0, 270.0):
        for roll in TILTS_DEG:
            for pitch in TILTS_DEG:
                for scale in SCALES[:3]:
                    yield replace(
                        configured,
                        roll_deg=configured.roll_deg + roll,
                        pitch_deg=configured.pitch_deg + pitch,
                        yaw_deg=configured.yaw_deg + quarter,
                        log_focal=math.log(scale),
                    )


def _apart(scored: Sequence[tuple[Parameters, float]], count: int) -> list[tuple[Parameters, float]]:
    """The best of those that lie apart in heading or tilt."""
    chosen: list[tuple[Parameters, float]] = []
    for guess, value in scored:
        near = (
            max(abs((guess.yaw_deg - o.yaw_deg + 180.0) % 360.0 - 180.0) - TURN_STEP_DEG,
                abs(guess.roll_deg - o.roll_deg), abs(guess.pitch_deg - o.pitch_deg)) < 1.0
            for o, _ in chosen
        )  # fmt: skip
        if not any(near):
            chosen.append((guess, value))
        if len(chosen) == count:
            break
    return chosen


def _spread(count: int, wanted: int) -> list[int]:
    """That many numbers, evenly."""
    return sorted({round(k) for k in np.linspace(0, count - 1, wanted)})
