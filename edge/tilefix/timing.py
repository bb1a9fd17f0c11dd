"""How long each stage takes: the one timer, for the daemon, the replay and the latency benchmark."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

from tilefix.ports import Clock

# The stages of one frame, in their order; other names are refused, so that two reports always compare.
STAGES = ("decode", "rectify", "embed", "search", "register", "track", "publish")
# What the stage "embed" is made of; their time lies within it. Measured by `part`.
EMBED_PARTS = ("copy_in", "engine", "copy_out")
# Enough for ten minutes at 10 Hz; older durations are forgotten, so memory stays bounded in a long flight.
KEEP_DURATIONS = 6000


class MonotonicClock:
    """The process's monotonic clock (`tilefix.ports.Clock`). Only the shells make one: the core is given its clock."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary start."""
        return time.monotonic_ns()


@dataclass(frozen=True, slots=True)
class StageSummary:
    """Durations of one stage over those kept: how many, and percentiles in milliseconds."""

    count: int
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class StageTimer:
    """Durations of named stages, measured with the given clock. Several threads may use one timer.

    A stage that raises is recorded too: a slow failure is still slow.
    """

    def __init__(self, clock: Clock, *, keep: int = KEEP_DURATIONS) -> None:
        if keep < 1:
            raise ValueError(f"keep {keep} must be at least 1")
        self._clock = clock
        self._lock = threading.Lock()
        self._durations_ns = {name: deque[int](maxlen=keep) for name in (*STAGES, *EMBED_PARTS)}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measures the block as one run of that stage. Raises `ValueError` for a name outside `STAGES`."""
        outer = _measuring.set((*_measuring.get(), self))
        try:
            with self.duration(name):
                yield
        finally:
            _measuring.reset(outer)

    @contextmanager
    def duration(self, name: str) -> Iterator[None]:
        """The same without what `part` would measure inside: for a stage's part."""
        if name not in self._durations_ns:
            raise ValueError(f"no stage {name!r}: one of {', '.join(self._durations_ns)}")
        begun_ns = self._clock.now_ns()
        try:
            yield
        finally:
            duration_ns = self._clock.now_ns() - begun_ns
            with self._lock:
                self._durations_ns[name].append(max(duration_ns, 0))

    def drain_ns(self) -> dict[str, int]:
        """The nanoseconds that each stage and part took since the last call, all runs together; then forgets them."""
        with self._lock:
            took = {name: sum(kept) for name, kept in self._durations_ns.items() if kept}
            for kept in self._durations_ns.values():
                kept.clear()
        return took

    def percentiles_ms(self) -> Mapping[str, StageSummary]:
        """A summary of each stage that ran, in the order of `STAGES` (linear interpolation between samples)."""
        with self._lock:
            copies = {name: list(kept) for name, kept in self._durations_ns.items() if kept}
        summaries = {}
        for name, durations_ns in copies.items():
            percents = np.percentile(np.asarray(durations_ns, dtype=np.float64), [50, 90, 95, 99, 100]) / 1e6
            summaries[name] = StageSummary(len(durations_ns), *map(float, percents))
        return summaries


_measuring: ContextVar[tuple[StageTimer, ...]] = ContextVar("measuring", default=())


@contextmanager
def part(name: str) -> Iterator[None]:
    """Measures the block as one of `EMBED_PARTS` of the stage that is being measured around it on this thread.

    Where no stage is measured this does nothing: an embedder needs no timer of its own.
    """
    with ExitStack() as stack:
        for timer in _measuring.get():
            stack.enter_context(timer.duration(name))
        yield
