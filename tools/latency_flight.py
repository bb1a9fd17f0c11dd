"""A recorded flight on the latency benchmark's rails: its time, what its autopilot says, and its frames.

Time is the flight's: it stands still while the bench itself works between frames (decoding, measuring what the machine
can do). With the pace "realtime" a frame that is due while the worker is busy is dropped, as a camera's would be. With
the pace "full" time also stands still while a frame is looked at, and leaps to the next exposure instead of waiting for
it: every frame comes, in order, however slow or busy the machine is. The frames that warm up always come so.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from link_clock import LinkClock
from tilefix.errors import TilefixError
from tilefix.flights.flight import Flight, FlightRow
from tilefix.geodesy import LocalFrame
from tilefix.pictures import read_picture
from tilefix.simulation.acceptance.gnss import FIX_3D, GpsInput
from tilefix.simulation.acceptance.verdicts import Verdict
from tilefix.simulation.autopilot import SimulatedAutopilot
from tilefix.simulation.flying import TICK_NS, AutopilotSettings, Flying
from tilefix.simulation.vehicle import Course, Motion, SimulatedVehicle
from tilefix.timing import StageTimer
from tilefix.types import Frame, UInt8Array, VehicleState

GROUND_AMSL_M = 212.0
STANDS_S = 4.0  # on the ground before the first frame: what ties air pressure to the ground's height


class FlightClock:
    """`tilefix.ports.Clock` that the bench may hold, and make leap."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ahead_ns = 0
        self._held_ns: int | None = None

    def now_ns(self) -> int:
        """Nanoseconds of the flight's time."""
        with self._lock:
            return self._now_ns()

    def _now_ns(self) -> int:
        return self._held_ns if self._held_ns is not None else time.monotonic_ns() + self._ahead_ns

    @contextmanager
    def held(self) -> Iterator[None]:
        """The flight's time stands still during the block."""
        with self._lock:
            self._held_ns = self._now_ns()
        try:
            yield
        finally:
            with self._lock:
                assert self._held_ns is not None
                self._ahead_ns = self._held_ns - time.monotonic_ns()
                self._held_ns = None

    def leap_to(self, at_ns: int) -> None:
        """Makes it that instant, unless it is later already."""
        with self._lock:
            self._ahead_ns += max(0, at_ns - self._now_ns())


class Timetable:
    """When the rows of a flight are due, lap after lap; nanoseconds since the first exposure."""

    def __init__(self, flight: Flight, *, laps: bool) -> None:
        self.rows = flight.rows
        self._at_ns = [round((row.time_s - flight.rows[0].time_s) * 1e9) for row in flight.rows]
        step_ns = (self._at_ns[-1] // (len(self._at_ns) - 1)) if len(self._at_ns) > 1 else 100_000_000
        self.lap_ns = self._at_ns[-1] + step_ns if laps else None

    def due_ns(self, sequence: int) -> int | None:
        """When that frame is due; `None` after the last."""
        lap, row = divmod(sequence, len(self.rows))
        if lap and self.lap_ns is None:
            return None
        return lap * (self.lap_ns or 0) + self._at_ns[row]

    def newest(self, since_ns: int) -> int:
        """The number of the newest frame due by then."""
        lap, within_ns = divmod(since_ns, self.lap_ns) if self.lap_ns else (0, since_ns)
        return int(lap) * len(self.rows) + max(bisect_right(self._at_ns, within_ns) - 1, 0)

    def state_at(self, since_ns: int) -> VehicleState:
        """The log's attitude and height between its rows; before the first and after the last row, theirs."""
        before = self.newest(max(since_ns, 0))
        begin_ns, end_ns = self.due_ns(before), self.due_ns(before + 1)
        one, two = self.rows[before % len(self.rows)].state, self.rows[(before + 1) % len(self.rows)].state
        if begin_ns is None or end_ns is None:
            return one
        share = min(max((since_ns - begin_ns) / max(end_ns - begin_ns, 1), 0.0), 1.0)

        def turned(left: float | None, right: float | None) -> float | None:
            if left is None or right is None:
                return left
            return left + share * ((right - left + 180.0) % 360.0 - 180.0)

        def moved(left: float | None, right: float | None) -> float | None:
            return left if left is None or right is None else left + share * (right - left)

        return VehicleState(
            since_ns,
            turned(one.roll_deg, two.roll_deg),
            turned(one.pitch_deg, two.pitch_deg),
            turned(one.yaw_deg, two.yaw_deg),
            moved(one.agl_m, two.agl_m),
        )


class FlightOnRails(Flying):
    """The autopilot stand-in's flight when it is a recorded one: stands on the ground, then says what the log says."""

    def __init__(self, table: Timetable, frame: LocalFrame, start_ns: int) -> None:
        vehicle = SimulatedVehicle(0.0, 0.0, 1.0, seed=0)
        super().__init__(
            vehicle,
            Course([(0.0, 0.0), (0.0, 1.0)], 1.0),
            frame,
            start_ns=start_ns,
            seed=0,
            settings=AutopilotSettings(ground_amsl_m=GROUND_AMSL_M),
        )
        self.gnss_denied = True
        self._table = table
        self._known = (0.0, 0.0, 0.0, 0.0)

    def tick(self) -> None:
        """Goes on by one tick; what the log does not know stays as it was."""
        self.ticks += 1
        since_ns = self.ticks * TICK_NS - round(STANDS_S * 1e9)
        state = self._table.state_at(since_ns)
        told = (state.roll_deg, state.pitch_deg, state.yaw_deg, state.agl_m if since_ns > -TICK_NS else 0.0)
        roll, pitch, yaw, agl = (known if new is None else new for new, known in zip(told, self._known, strict=True))
        self._known = (roll, pitch, yaw, agl)
        self.vehicle.motion = Motion(self.now_s, 0.0, 0.0, agl, 0.0, 0.0, 0.0, roll, pitch, yaw)

    def sensed_attitude_deg(self) -> tuple[float, float, float]:
        """The log's, yaw within -180 to 180."""
        motion = self.vehicle.motion
        return motion.roll_deg, motion.pitch_deg, (motion.yaw_deg + 180.0) % 360.0 - 180.0

    def sensed_pressure_hpa(self) -> float:
        """Static pressure at the log's height. Source: ICAO standard atmosphere, troposphere."""
        return float(1013.25 * (1.0 - 0.0065 * self.amsl_m / 288.15) ** 5.25588)

    def take_position(self, given: GpsInput) -> Verdict:
        """It is not steered: counts only."""
        return self.tally.note(Verdict.FUSED if given.fix_type >= FIX_3D else Verdict.NO_FIX)


class NotingAutopilot(SimulatedAutopilot):
    """The other end of the link: notes when each position arrived, and for which instant it holds."""

    def __init__(self, flight: FlightOnRails, capacity: int) -> None:
        course = Course([(0.0, 0.0), (0.0, 1.0)], 1.0)
        super().__init__(flight.vehicle, course, flight.frame, start_ns=flight.start_ns, seed=0)
        self.fly(flight)
        self._reader = mavlink.MAVLink(None)
        self._reader.robust_parsing = True
        self._positions = np.zeros((capacity, 2), np.int64)
        self._count = 0
        self._clock = LinkClock()

    def receive(self, data: bytes, now_ns: int) -> None:
        """Takes bytes that arrived at `now_ns`."""
        for message in self._reader.parse_buffer(data) or []:
            self._clock.hear(message, now_ns)
            if message.get_type() == "GPS_INPUT" and self._count < len(self._positions):
                self._positions[self._count] = now_ns, message.time_usec * 1000
                self._count += 1
        super().receive(data, now_ns)

    @property
    def positions(self) -> npt.NDArray[np.int64]:
        """(n, 2): when each arrived, and the instant that it holds for; none before the link's clock is known."""
        epoch_ns = self._clock.epoch_ns
        if epoch_ns is None:
            return self._positions[:0]
        return np.asarray(self._positions[: self._count] + np.array([0, epoch_ns]), np.int64)


class BenchFrames:
    """`tilefix.ports.FrameSource` of a flight. Decoding and `between` (told the frame's number) take no flight time."""

    def __init__(
        self,
        flight: Flight,
        table: Timetable,
        clock: FlightClock,
        *,
        first_ns: int,
        waits: Callable[[], bool],
        between: Callable[[int], None],
        timer: StageTimer,
    ) -> None:
        self._flight, self._table, self._clock = flight, table, clock
        self._first_ns, self._waits, self._between, self._timer = first_ns, waits, between, timer
        self._next = 0
        self._ready: tuple[int, UInt8Array] | None = None
        self._video: Iterator[tuple[FlightRow, Frame]] | None = None
        self._video_at = 0
        self.given = 0
        self.dropped = 0
        self.ended = False

    @property
    def exhausted(self) -> bool:
        """True once the bench ended it, or after the flight's last frame."""
        return self.ended or self._table.due_ns(self._next) is None

    def read(self, timeout_s: float) -> Frame | None:
        """The newest frame that is due, or the next one when it is."""
        if self.exhausted:
            return None
        newest = self._table.newest(max(self._clock.now_ns() - self._first_ns, 0))
        waits = self._waits()
        if newest > self._next and waits:
            # What was exposed while nobody asked: the newest is given, as a camera with one buffer would.
            self.dropped += newest - self._next if self.given else 0
            self._next = newest
        due_ns = self._table.due_ns(self._next)
        assert due_ns is not None
        due_ns += self._first_ns
        if self._ready is None or self._ready[0] != self._next:
            with self._clock.held():
                self._between(self._next)
                with self._timer.stage("decode"):
                    self._ready = self._next, self._picture(self._next % len(self._table.rows))
        if waits or not self.given:
            wait_s = (due_ns - self._clock.now_ns()) / 1e9
            if wait_s > timeout_s:
                time.sleep(timeout_s)
                return None
            time.sleep(max(wait_s, 0.0))
        else:
            self._clock.leap_to(due_ns)
        sequence, image = self._ready
        self._ready = None
        self._next += 1
        self.given += 1
        return Frame(image, due_ns, sequence)

    def _picture(self, row: int) -> UInt8Array:
        if self._flight.video is None:
            return read_picture(self._flight.pictures[self._flight.rows[row].frame])
        if self._video is None or row < self._video_at:
            self._video, self._video_at = self._flight.frames(), 0
        frame = None
        while self._video_at <= row:
            frame = next(self._video)[1]
            self._video_at += 1
        if frame is None:
            raise TilefixError("video frame asked for twice", where=self._flight.folder)
        return frame.image

    def close(self) -> None:
        """Nothing is held open."""
