"""What an estimate means: which values the flight tells, which it cannot, what to fly for those, what to paste."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from tilefix.calibration.estimate import Estimate
from tilefix.calibration.model import Parameters
from tilefix.camera import CameraModel

# Above this standard deviation a value is not told: degrees, log focal length, seconds, metres.
TOLD = Parameters(1.0, 1.0, 1.5, 0.025, 0.06, 3.0, 3.0)
SIGNIFICANT_SIGMAS = 2.0
STRAIGHT_DEG = 60.0  # headings within so many degrees are one direction
STEADY_SHARE = 0.1  # of the speed
LATENCY_RANGE_MS = (-200.0, 2000.0)  # what an aircraft's configuration takes


@dataclass(frozen=True, slots=True)
class Finding:
    """One value. `told`: the flight tells it; `changed`: it differs from what is configured beyond its doubt."""

    name: str
    unit: str
    configured: float
    value: float
    sigma: float
    told: bool
    changed: bool


@dataclass(frozen=True)
class Findings:
    """All values, in the units that people use; `config`: the lines to paste; `advice`: what to fly for the rest."""

    values: tuple[Finding, ...]
    frames: int
    parts_found: int
    parts: int
    scatter_m: float
    advice: tuple[str, ...]
    config: str


def findings(estimate: Estimate, camera: CameraModel, latency_ms: float) -> Findings:
    """`camera`: as configured, at its full size; `latency_ms`: what the flight's `[camera]` already takes off."""
    p, sigma = estimate.solution.parameters, estimate.sigma
    old = estimate.configured
    told = dict(zip(Parameters.names(), sigma <= TOLD.vector, strict=True))
    s = dict(zip(Parameters.names(), map(float, sigma), strict=True))
    old_hfov, hfov = _hfov_deg(camera, 0.0), _hfov_deg(camera, p.log_focal)
    per_log = math.degrees(math.sin(math.radians(hfov)))  # d hfov / d log focal
    rows = (
        ("roll_deg", "mount roll", "deg", old.roll_deg, p.roll_deg, s["roll_deg"]),
        ("pitch_deg", "mount pitch", "deg", old.pitch_deg, p.pitch_deg, s["pitch_deg"]),
        ("yaw_deg", "mount yaw", "deg", old.yaw_deg, old.yaw_deg + _turn(p.yaw_deg - old.yaw_deg), s["yaw_deg"]),
        ("log_focal", "horizontal field of view", "deg", old_hfov, hfov, per_log * s["log_focal"]),
        ("time_s", "latency of pictures", "ms", latency_ms, latency_ms - 1e3 * p.time_s, 1e3 * s["time_s"]),
        ("east_m", "map offset east", "m", 0.0, p.east_m, s["east_m"]),
        ("north_m", "map offset north", "m", 0.0, p.north_m, s["north_m"]),
    )
    values = tuple(
        Finding(name, unit, was, now, doubt, bool(told[key]),
                bool(told[key] and abs(now - was) > SIGNIFICANT_SIGMAS * doubt))
        for key, name, unit, was, now, doubt in rows
    )  # fmt: skip
    return Findings(
        values,
        len(estimate.seen.times_s),
        len(estimate.seen.frame),
        estimate.parts,
        float(np.median(np.hypot(*estimate.solution.residuals_m.T))),
        tuple(_advice(estimate, told)),
        _config(values, camera, p.log_focal),
    )


def _hfov_deg(camera: CameraModel, log_focal: float) -> float:
    return math.degrees(2.0 * math.atan(0.5 * camera.width / (camera.fx * math.exp(log_focal))))


def _turn(angle_deg: float) -> float:
    return (angle_deg + 180.0) % 360.0 - 180.0


def _advice(estimate: Estimate, told: dict[str, bool]) -> list[str]:
    """What to fly for what is not told, by what this flight lacked."""
    if all(told.values()):
        return []
    values, times = estimate.pictures.series.values, estimate.pictures.series.times_s
    velocity = np.diff(values[:, 4:], axis=0) / np.diff(times)[:, None]
    speed = np.hypot(*velocity.T)
    moving = speed > 0.3 * max(float(np.median(speed)), 0.5)
    course = np.exp(1j * np.arctan2(velocity[moving, 0], velocity[moving, 1]))
    heading = np.exp(1j * np.radians(values[:, 2]))
    advice = []
    if _spread_deg(heading) < STRAIGHT_DEG:
        advice.append(
            "One heading only: an error of the mount's roll and pitch looks like an offset of the map. Fly a square, "
            "or the same line there and back."
        )
    if not told["time_s"] and (
        _spread_deg(course) < STRAIGHT_DEG or float(np.std(speed)) < STEADY_SHARE * float(np.mean(speed))
    ):
        advice.append(
            "One speed along the nose: lateness of the pictures looks like mount pitch. Fly legs at two speeds, or "
            "hover and turn on the spot."
        )
    if not (told["roll_deg"] and told["pitch_deg"] and told["yaw_deg"]) and not advice:
        advice.append("Errors of attitude and heading last for half a minute: fly longer, 5 minutes or more.")
    if not told["log_focal"]:
        advice.append(
            "The field of view is known no better than the height above ground: state how well that is "
            "(--height-sigma), use a rangefinder, or measure the field of view on the ground."
        )
    if not advice:
        advice.append("Fly longer, over ground with more detail, with turns and at two speeds.")
    return advice


def _spread_deg(directions: np.ndarray[tuple[int], np.dtype[np.complex128]]) -> float:
    """The angle that holds the middle nine tenths of directions."""
    middle = np.angle(directions.mean())
    away = np.degrees(np.angle(directions * np.exp(-1j * middle)))
    low, high = np.percentile(away, [5.0, 95.0])
    return float(high - low)


def _config(values: tuple[Finding, ...], camera: CameraModel, log_focal: float) -> str:
    """TOML; what is not told is a comment."""
    roll, pitch, yaw, hfov, late, east, north = values
    square = math.isclose(camera.fx, camera.fy, rel_tol=1e-6)
    centred = math.isclose(camera.cx, (camera.width - 1) / 2.0, abs_tol=0.51) and math.isclose(
        camera.cy, (camera.height - 1) / 2.0, abs_tol=0.51
    )
    lines = ["[mount]"]
    lines += [_line(key, one, 2) for key, one in (("roll_deg", roll), ("pitch_deg", pitch), ("yaw_deg", yaw))]
    lines += ["[camera]"]
    if square and centred:
        lines += [_line("hfov_deg", hfov, 2)]
    else:
        stretch = math.exp(log_focal)
        mark = "" if hfov.told else "# not told by this flight: "
        # Of the pictures as they are stored, which may be reduced: focal lengths in pixels belong to a size.
        size = (("width", camera.width), ("height", camera.height))
        focal = (
            ("fx", camera.fx * stretch),
            ("fy", camera.fy * stretch),
            ("cx", camera.cx),
            ("cy", camera.cy),
        )
        lines += [f"{mark}{key} = {value}" for key, value in size]
        lines += [f"{mark}{key} = {value:.2f}" for key, value in focal]
    low_ms, high_ms = LATENCY_RANGE_MS
    if not low_ms <= late.value <= high_ms:
        lines += [
            f"# no camera is that late or early: check the times of the log, {low_ms:g} to {high_ms:g} ms is taken"
        ]
        late = replace(late, told=False)
    lines += [_line("latency_ms", late, 0), "[map]"]
    lines += [_line("offset_east_m", east, 2), _line("offset_north_m", north, 2)]
    return "\n".join(lines) + "\n"


def _line(key: str, one: Finding, digits: int) -> str:
    value = round(one.value, digits) + 0.0
    text = f"{key} = {value:.{max(digits, 1)}f}"
    doubt = f"+- {one.sigma:.{max(digits, 1)}f}"
    if not one.told:
        return f"# {key} is not told by this flight: {text} {doubt}"
    return f"{text}   # {doubt}, was {one.configured:.{max(digits, 1)}f}" + ("" if one.changed else ": no clear change")
