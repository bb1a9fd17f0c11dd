"""Faults of the log: which frames arrive, what time they bear, and what is stated of the vehicle at their exposure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tilefix.flights.flight import FlightRow
from tilefix.simulation.faults import Fault, Window
from tilefix.types import VehicleState

LATE_S = 0.3
BURST_S, BURST_EACH_S = 2.0, 5.0
TIME_STEPS = ((0.0, 2.0), (0.5, -1.0))  # (share of the window from which on, seconds off)

Timed = tuple[float, FlightRow]
"""A row with the time at which it arrives in truth, whatever it says itself."""


def edit_log(fault: Fault | None, rows: Sequence[FlightRow], window: Window) -> tuple[Timed, ...]:
    """The rows that arrive, as they arrive; unchanged for a fault that is none of the log."""
    timed = tuple((row.time_s, row) for row in rows)
    edit = None if fault is None else _EDITS.get(fault)
    return timed if edit is None else tuple(edit(timed, window))


def _dropped(timed: Sequence[Timed], window: Window) -> list[Timed]:
    first = next((k for k, (at_s, _) in enumerate(timed) if window.holds(at_s)), 0)
    return [one for k, one in enumerate(timed) if not (window.holds(one[0]) and (k - first) % 3 == 0)]


def _in_bursts(timed: Sequence[Timed], window: Window) -> list[Timed]:
    return [
        (at_s, row)
        for at_s, row in timed
        if not (window.holds(at_s) and (at_s - window.start_s) % BURST_EACH_S < BURST_S)
    ]


def _late(timed: Sequence[Timed], window: Window) -> list[Timed]:
    """Attitude as it was `LATE_S` ago, linear between the rows; height stays."""
    times = np.array([at_s for at_s, _ in timed])
    angles = {}
    for name in ("roll_deg", "pitch_deg", "yaw_deg"):
        known = [getattr(row.state, name) for _, row in timed]
        values = np.array([np.nan if value is None else value for value in known])
        angles[name] = np.unwrap(values, period=360.0)

    def then(name: str, at_s: float) -> float | None:
        value = float(np.interp(at_s - LATE_S, times, angles[name]))
        return None if np.isnan(value) else value % 360.0 if name == "yaw_deg" else value

    return [
        (at_s, _stated(row, **{name: then(name, at_s) for name in angles}) if window.holds(at_s) else row)
        for at_s, row in timed
    ]


def _jumping(timed: Sequence[Timed], window: Window) -> list[Timed]:
    edited = []
    for at_s, row in timed:
        off_s = 0.0
        if window.holds(at_s):
            share = (at_s - window.start_s) / window.length_s
            off_s = next(step for begins, step in reversed(TIME_STEPS) if share >= begins)
        edited.append((at_s, _at(row, row.time_s + off_s)))
    return edited


def _kidnapped(timed: Sequence[Timed], window: Window) -> list[Timed]:
    """What comes after the window's start is taken from as late in the recording as it is long."""
    before = [one for one in timed if one[0] < window.start_s]
    first = 2 * len(before)
    if first >= len(timed):
        raise ValueError("a kidnapped flight must last more than twice as long as until its fault")
    gap_s = timed[first][0] - timed[len(before)][0]
    return before + [(at_s - gap_s, _at(row, row.time_s - gap_s)) for at_s, row in timed[first:]]


def _with_state(change: Callable[[VehicleState], VehicleState]) -> Callable[[Sequence[Timed], Window], list[Timed]]:
    def edit(timed: Sequence[Timed], window: Window) -> list[Timed]:
        return [(at_s, replace(row, state=change(row.state)) if window.holds(at_s) else row) for at_s, row in timed]

    return edit


def _turned(by_deg: float) -> Callable[[VehicleState], VehicleState]:
    def change(state: VehicleState) -> VehicleState:
        return state if state.yaw_deg is None else replace(state, yaw_deg=(state.yaw_deg + by_deg) % 360.0)

    return change


def _higher(by: float) -> Callable[[VehicleState], VehicleState]:
    def change(state: VehicleState) -> VehicleState:
        return state if state.agl_m is None else replace(state, agl_m=state.agl_m * by)

    return change


def _stated(row: FlightRow, **angles: float | None) -> FlightRow:
    state = row.state
    return replace(
        row, state=VehicleState(state.at_ns, angles["roll_deg"], angles["pitch_deg"], angles["yaw_deg"], state.agl_m)
    )


def _at(row: FlightRow, time_s: float) -> FlightRow:
    time_s = max(0.0, time_s)
    return replace(row, time_s=time_s, state=replace(row.state, at_ns=round(time_s * 1e9)))


_EDITS: dict[Fault, Callable[[Sequence[Timed], Window], list[Timed]]] = {
    Fault.DROPPED_FRAMES: _dropped,
    Fault.DROPPED_BURSTS: _in_bursts,
    Fault.LATE_ATTITUDE: _late,
    Fault.TIME_JUMPS: _jumping,
    Fault.KIDNAPPED: _kidnapped,
    Fault.HEADING_30: _with_state(_turned(30.0)),
    Fault.HEADING_180: _with_state(_turned(180.0)),
    Fault.HEIGHT_30: _with_state(_higher(1.3)),
}
