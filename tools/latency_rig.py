"""The daemon on a test bench: its real threads, link and publisher, fed with a recorded flight, every frame noted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from latency_flight import FlightClock
from tilefix.errors import TilefixError
from tilefix.localization.localizer import Localizer
from tilefix.service.daemon import Daemon
from tilefix.timing import EMBED_PARTS, STAGES, MonotonicClock, StageTimer
from tilefix.types import Fix, Frame, NoFix, VehicleState

COLUMNS = (*STAGES[1:-1], *EMBED_PARTS)  # what a localizer measures of one frame

FloatTable = npt.NDArray[np.float64]


class ThreadClock:
    """Processor time of the thread that asks: what a frame costs however many others share the processor."""

    def now_ns(self) -> int:
        """Nanoseconds."""
        return time.thread_time_ns()


@dataclass
class Lane:
    """One way to localize, with a row of `table` for each of its frames: look, processor time, then `COLUMNS` in wall
    time and in processor time, all milliseconds; and the instants of `marks`: exposure, in hand, answered."""

    name: str
    localizer: Localizer
    capacity: int
    count: int = 0
    fixes: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    table: FloatTable = field(init=False)
    marks: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        # Written once, so that filling it later does not look like a leak.
        self.table = np.full((self.capacity, 2 + 2 * len(COLUMNS)), np.nan)
        self.marks = np.zeros((self.capacity, 3), np.int64)


class Bench:
    """`tilefix.service.daemon.Locates` and `Watches`: gives each frame to the next of several lanes, and notes what
    it took.

    The frames of all lanes are those of one flight in turn, so that all see the same machine.
    """

    def __init__(self, lanes: Sequence[Lane], clock: FlightClock, warm_up: int) -> None:
        self.lanes, self._clock, self._warm_up = lanes, clock, warm_up
        self._wall, self._cpu = StageTimer(MonotonicClock()), StageTimer(ThreadClock())
        self._turn = -1
        self.seen = 0
        self.begun = (0, 0, 0)

    @property
    def _lane(self) -> Lane:
        return self.lanes[max(self._turn, 0)]

    @property
    def warming_up(self) -> bool:
        """True until the frames come that are counted."""
        return self.seen < self._warm_up

    def reset(self) -> None:
        """Only a failed frame makes the daemon ask for it: no figure stands then."""
        raise TilefixError("a frame failed on the bench", mend="see the log above")

    def hint(self, lat_deg: float, lon_deg: float, sigma_m: float) -> None:
        """Starts all lanes near a place."""
        for lane in self.lanes:
            lane.localizer.hint(lat_deg, lon_deg, sigma_m)

    def process(self, frame: Frame, state: VehicleState, timer: StageTimer | None = None) -> Fix | NoFix:
        """The answer of the lane whose turn it is."""
        del timer  # each lane is measured by itself
        self._turn = (self._turn + 1) % len(self.lanes)
        return self._lane.localizer.process(frame, state, Both(self._wall, self._cpu))

    def predict(self, at_ns: int) -> Fix | NoFix:
        """The same lane's prediction."""
        return self._lane.localizer.predict(at_ns)

    @property
    def usual_correlation(self) -> float | None:
        """The same lane's."""
        return self._lane.localizer.usual_correlation

    def saw(self, frame: Frame, state: VehicleState, estimate: Fix | NoFix, truth: object) -> None:
        """Notes the frame: its forecast is ready for the publisher."""
        del state, truth
        wall_ns, cpu_ns = time.monotonic_ns(), time.thread_time_ns()
        took, cost = self._wall.drain_ns(), self._cpu.drain_ns()
        self.seen += 1
        lane = self._lane
        if self.seen <= self._warm_up or lane.count >= lane.capacity:
            return
        row, half = lane.table[lane.count], len(COLUMNS)
        row[0], row[1] = (wall_ns - self.begun[0]) / 1e6, (cpu_ns - self.begun[1]) / 1e6
        for place, name in enumerate(COLUMNS):
            row[2 + place] = took[name] / 1e6 if name in took else np.nan
            row[2 + half + place] = cost[name] / 1e6 if name in cost else np.nan
        lane.marks[lane.count] = frame.captured_ns, self.begun[2], self._clock.now_ns()
        lane.count += 1
        if isinstance(estimate, Fix):
            lane.fixes += 1
        reason = "matched" if estimate.reason is None else estimate.reason.name
        lane.reasons[reason] = lane.reasons.get(reason, 0) + 1


class Both(StageTimer):
    """Measures each stage with two timers: wall time and processor time."""

    def __init__(self, wall: StageTimer, cpu: StageTimer) -> None:
        self._timers = wall, cpu

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The block as one run of that stage, for both."""
        wall, cpu = self._timers
        with wall.stage(name), cpu.stage(name):
            yield


class BenchDaemon(Daemon):
    """The daemon, noting when it takes a frame in hand."""

    bench: Bench
    bench_clock: FlightClock
    holds_time: Callable[[], bool]

    def look(self, frame: Frame) -> Fix | NoFix:
        """Looks at one frame."""
        with self.bench_clock.held() if self.holds_time() else nullcontext():
            self.bench.begun = time.monotonic_ns(), time.thread_time_ns(), self.bench_clock.now_ns()
            return super().look(frame)


def exposure_to_link_ms(marks: npt.NDArray[np.int64], positions: npt.NDArray[np.int64]) -> FloatTable:
    """From each exposure to the arrival of the first position that this picture is in; NaN where none was.

    `marks`: (n, 3) exposure, in hand, answered. `positions`: (m, 2) arrival and the instant it holds for. The daemon
    takes the newest forecast that begins by that instant: an older picture's position has another one in it.
    """
    out = np.full(len(marks), np.nan)
    order = np.argsort(marks[:, 0])
    for place, number in enumerate(order):
        captured_ns, _, answered_ns = marks[number]
        held = (positions[:, 0] >= answered_ns) & (positions[:, 1] >= captured_ns)
        if place + 1 < len(order):
            later = marks[order[place + 1]]
            held &= (positions[:, 0] < later[2]) | (positions[:, 1] < later[0])
        if held.any():
            out[number] = (positions[held, 0].min() - captured_ns) / 1e6
    return out
