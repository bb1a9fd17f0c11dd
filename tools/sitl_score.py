"""What a SITL flight shows: the autopilot's and our errors against the truth, health, modes, and the verdicts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from sitl_pilot import FlightLog
from sitl_relay import Notes
from tilefix.geodesy import LocalFrame

Floats = npt.NDArray[np.float64]
# What EKF_STATUS_REPORT must show in flight for a vehicle that navigates; see ArduPilot's EKF_STATUS_FLAGS.
NEEDED_FLAGS = mavlink.EKF_ATTITUDE | mavlink.EKF_VELOCITY_HORIZ | mavlink.EKF_VELOCITY_VERT | mavlink.EKF_POS_HORIZ_ABS
MEDIAN_LIMIT_M, P95_LIMIT_M = 3.0, 8.0
STALL_LIMIT_MS = 40.0  # at 30 degrees a second that is 1.2 degrees, 2.5 m from 120 m
# A position older than this leaves the autopilot without one: it asks for five a second.
_FRESH_NS = 300_000_000
_MODE_GRACE_NS = 5_000_000_000
_HANDOVER_NS = 15_000_000_000
_CLOCK_PART_NS = 2_000_000_000  # over which the quickest arrival is taken
_RECOVERY_NS = 30_000_000_000  # from the end of a fault until the position must be right again
# What tilefix tells: of its comparison with the receiver, of its states (`tilefix.handover.announce`).
_FOUND, _BIASED, _SHADOW, _STATE, _SPOOFED = "position found", "vision biased", "TF_SHADOW", "TF_STATE", 2.0


@dataclass(frozen=True)
class Track:
    """Places over time: monotonic ns, metres east and north in the map's frame."""

    at_ns: npt.NDArray[np.int64]
    east_m: Floats
    north_m: Floats

    def at(self, at_ns: npt.NDArray[np.int64]) -> tuple[Floats, Floats]:
        """East and north at instants, linear between; not a number outside."""
        bounds = {"left": math.nan, "right": math.nan}
        first = self.at_ns[0] if len(self.at_ns) else 0
        ours, theirs = (self.at_ns - first).astype(float), (at_ns - first).astype(float)
        if not len(ours):
            return np.full(len(theirs), math.nan), np.full(len(theirs), math.nan)
        return np.interp(theirs, ours, self.east_m, **bounds), np.interp(theirs, ours, self.north_m, **bounds)

    def within(self, begin_ns: int, end_ns: int) -> Track:
        """The part of it in a time."""
        inside = (self.at_ns >= begin_ns) & (self.at_ns <= end_ns)
        return Track(self.at_ns[inside], self.east_m[inside], self.north_m[inside])


def track_of(frame: LocalFrame, places: Sequence[tuple[int, float, float]]) -> Track:
    """A track from (monotonic ns, lat_deg, lon_deg)."""
    local = [frame.to_local(lat, lon) for _, lat, lon in places]
    return Track(
        np.array([at for at, _, _ in places], np.int64),
        np.array([east for east, _ in local], float),
        np.array([north for _, north in local], float),
    )


def errors_of(track: Track, truth: Track) -> tuple[npt.NDArray[np.int64], Floats, Floats]:
    """(when, east error, north error) in metres where the truth is known."""
    east, north = truth.at(track.at_ns)
    known = np.isfinite(east)
    return track.at_ns[known], (track.east_m - east)[known], (track.north_m - north)[known]


def monotonic_of(log: FlightLog, zero_ns: int) -> Callable[[int], int]:
    """Gives the monotonic time of an instant since boot, by the quickest of the ATTITUDEs around it.

    A simulation falls behind by some 0.1 s in a flight: with one offset for all of it, what tilefix dates by the
    monotonic clock would be compared with where a plane was two metres before.
    """
    if not log.clocks:
        return lambda boot_ns: boot_ns + zero_ns
    middles, offsets = _offsets_ns(log)
    return lambda boot_ns: boot_ns + round(float(np.interp(boot_ns, middles, offsets)))


def stall_ms(log: FlightLog) -> float | None:
    """The longest that the simulation stood still at once; `None` when the log does not tell.

    An autopilot's clock does not stop. While tilefix and the camera have not noticed, each by its own round trips,
    pictures are laid on the ground by attitudes of another instant.
    """
    if not log.clocks:
        return None
    return round(float(np.diff(_offsets_ns(log)[1]).max(initial=0.0)) / 1e6, 1)


def _offsets_ns(log: FlightLog) -> tuple[Floats, Floats]:
    """(time since boot, monotonic less that) of the quickest arrival in each part of the flight."""
    boot, arrived = np.array(log.clocks, np.int64).T
    part = (boot - boot[0]) // _CLOCK_PART_NS
    parts = np.unique(part)
    middles = np.array([boot[part == one].mean() for one in parts])
    return middles, np.array([(arrived - boot)[part == one].min() for one in parts], float)


def sees(notes: Notes) -> bool:
    """True once vision has a place: it is compared with the receiver, or tilefix says that it found its position."""
    return any(name == _SHADOW for _, name, _ in notes.values) or any(_FOUND in text for _, _, text in notes.texts)


@dataclass
class Scored:
    """The tracks of a flight, and its figures as they stand in `summary.json`."""

    truth: Track
    ekf: Track
    fixes: Track
    marks_ns: dict[str, int]
    summary: dict[str, Any] = field(default_factory=dict)


def _spread(values: Floats) -> dict[str, float | int | None]:
    if not len(values):
        return {"count": 0, "median_m": None, "p95_m": None, "max_m": None}
    median, p95, most = np.percentile(values, [50.0, 95.0, 100.0])
    return {"count": len(values), "median_m": round(float(median), 2), "p95_m": round(float(p95), 2),
            "max_m": round(float(most), 2)}  # fmt: skip


def score_flight(
    frame: LocalFrame, log: FlightLog, notes: Notes, marks_ns: dict[str, int], zero_ns: int, mission_m: Floats
) -> Scored:
    """The figures of one flight. `zero_ns`: the autopilot's boot by the monotonic clock, where the log does not tell;
    `mission_m`: (n, 2) corners, east and north."""
    local_ns = monotonic_of(log, zero_ns)
    truth = track_of(frame, [(local_ns(one.at_ns), one.lat_deg, one.lon_deg) for one in log.truths])
    ekf = track_of(frame, [(local_ns(one.at_ns), one.lat_deg, one.lon_deg) for one in log.ekf])
    fixes = track_of(frame, [(one.at_ns, one.lat_deg, one.lon_deg) for one in notes.positions])
    scored = Scored(truth, ekf, fixes, marks_ns)
    last_ns = int(truth.at_ns[-1]) if len(truth.at_ns) else 0
    begin = marks_ns.get("denied", marks_ns.get("spoofed", last_ns + 1))
    over = marks_ns.get("restored", marks_ns.get("spoof_over", max(last_ns, begin)))
    up, down = marks_ns.get("high", begin), marks_ns.get("crossed", last_ns)
    summary = scored.summary
    summary["denied_s"] = round((over - begin) / 1e9, 1)
    summary["ekf_error"] = _spread(_lengths(ekf.within(begin, over), truth))
    summary["ekf_error_with_gnss"] = _spread(_lengths(ekf.within(up, begin), truth))
    summary["fix_error"] = _spread(_lengths(fixes.within(begin, over), truth))
    summary["path_deviation"] = _spread(_off_path(truth.within(begin, over), mission_m))
    summary["path_deviation_with_gnss"] = _spread(_off_path(truth.within(up, begin), mission_m))
    summary["availability"] = _availability(notes, begin, over)
    summary["stated_sigma"] = _sigmas(notes, begin, over)
    flags = [(local_ns(at), value, variance) for at, value, variance in log.flags]
    flown = [(at, value, variance) for at, value, variance in flags if up <= at <= down]
    bad = [
        f"{(at - begin) / 1e9:+.1f} s: {value:#06x}" for at, value, _ in flown if value & NEEDED_FLAGS != NEEDED_FLAGS
    ]
    summary["ekf_unhealthy"] = {"samples": len(flown), "unhealthy": len(bad), "first": bad[:3]}
    summary["ekf_position_variance_max"] = round(max((one for _, _, one in flown), default=0.0), 3)
    for name, at in (("hand_over", begin), ("hand_back", over)):
        summary[name] = _jump(ekf, truth, notes, at)
    summary["simulation_stall_ms"] = stall_ms(log)
    summary["told"] = _told(notes, marks_ns, begin)
    back = {name: marks_ns[name] for name in ("camera_back", "link_back") if name in marks_ns}
    summary["error_after_fault_m"] = {name: _error_at(ekf, truth, at + _RECOVERY_NS) for name, at in back.items()}
    return scored


def _error_at(track: Track, truth: Track, at_ns: int) -> float | None:
    """The error around an instant, the median of two seconds."""
    lengths = _lengths(track.within(at_ns - 1_000_000_000, at_ns + 1_000_000_000), truth)
    return round(float(np.median(lengths)), 2) if len(lengths) else None


def _told(notes: Notes, marks_ns: dict[str, int], begin_ns: int) -> dict[str, float | None]:
    """When tilefix told of what was wrong, seconds from its beginning; `silent_s`: its longest silence since then."""
    spoofed = marks_ns.get("spoofed")
    detected = [at for at, name, value in notes.values if name == _STATE and value == _SPOOFED]
    biased = [at for at, _, text in notes.texts if _BIASED in text]
    passed = [one.passed_ns for one in notes.positions if one.passed_ns >= begin_ns]
    return {
        "spoofing_after_s": round((detected[0] - spoofed) / 1e9, 1) if detected and spoofed is not None else None,
        "bias_before_loss_s": round((begin_ns - biased[0]) / 1e9, 1) if biased and biased[0] < begin_ns else None,
        "silent_s": round(float(max(np.diff(passed), default=0)) / 1e9, 1) if len(passed) > 1 else None,
    }


def _lengths(track: Track, truth: Track) -> Floats:
    _, east, north = errors_of(track, truth)
    return np.hypot(east, north)


def _off_path(truth: Track, mission_m: Floats) -> Floats:
    """How far each place lies from the nearest leg of the path: from home to the first corner, then round them all."""
    if not len(truth.at_ns):
        return np.empty(0)
    places = np.stack([truth.east_m, truth.north_m], axis=1)
    nearest = np.full(len(places), math.inf)
    begins, ends = np.vstack([np.zeros(2), mission_m]), np.vstack([mission_m, mission_m[:1]])
    for first, last in zip(begins, ends, strict=True):
        along = last - first
        share = np.clip((places - first) @ along / float(along @ along), 0.0, 1.0)
        nearest = np.minimum(nearest, np.linalg.norm(places - first - share[:, None] * along, axis=1))
    return nearest


def _availability(notes: Notes, begin_ns: int, over_ns: int) -> float | None:
    """Share of the time in which the last position was sent less than 0.3 s ago."""
    passed = np.array([one.passed_ns for one in notes.positions if begin_ns <= one.passed_ns <= over_ns], np.int64)
    if over_ns <= begin_ns:
        return None
    covered = np.minimum(np.diff(np.append(passed, over_ns)), _FRESH_NS).sum() if len(passed) else 0
    return round(float(covered) / (over_ns - begin_ns), 4)


def _sigmas(notes: Notes, begin_ns: int, over_ns: int) -> dict[str, float | None]:
    """The sigma that tilefix stated."""
    sent = [one for one in notes.positions if begin_ns <= one.at_ns <= over_ns]
    return {"median_m": round(float(np.median([one.sigma_m for one in sent])), 2) if sent else None,
            "max_m": round(max(one.sigma_m for one in sent), 2) if sent else None}  # fmt: skip


def _jump(ekf: Track, truth: Track, notes: Notes, at_ns: int) -> dict[str, float | None]:
    """What the autopilot's error does in the 15 s after an event: before, most within a second, after; and the longest
    silence of tilefix around it."""
    at, east, north = errors_of(ekf.within(at_ns - 2_000_000_000, at_ns + _HANDOVER_NS), truth)
    if len(at) < 2:
        return {"before_m": None, "jump_m": None, "after_m": None, "silence_s": None}
    steps = []
    for k in range(len(at)):
        later = min(int(np.searchsorted(at, at[k] + 1_000_000_000)), len(at) - 1)
        steps.append(math.hypot(east[later] - east[k], north[later] - north[k]))
    before = at < at_ns
    near = [one.passed_ns for one in notes.positions if abs(one.passed_ns - at_ns) <= _HANDOVER_NS]
    silence = max(np.diff(near), default=0) / 1e9 if len(near) > 1 else None
    error = np.hypot(east, north)
    return {
        "before_m": round(float(error[before].mean()), 2) if before.any() else None,
        "jump_m": round(max(steps), 2),
        "after_m": round(float(error[-1]), 2),
        "silence_s": None if silence is None else round(float(silence), 2),
    }


def uncommanded(
    log: FlightLog, marks_ns: dict[str, int], zero_ns: int, commanded: Sequence[tuple[int, int]]
) -> list[str]:
    """Mode changes in the air that nobody asked for."""
    strange = []
    for at, mode in log.modes:
        local_ns = at + zero_ns
        asked = any(number == mode and 0 <= local_ns - when + 10**9 <= _MODE_GRACE_NS for when, number in commanded)
        if local_ns >= marks_ns.get("armed", 1 << 62) and not asked:
            strange.append(f"{(local_ns - marks_ns.get('denied', marks_ns['armed'])) / 1e9:+.1f} s: mode {mode}")
    return strange
