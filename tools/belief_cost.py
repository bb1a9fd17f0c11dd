"""What a belief's own work costs: processor time per frame and memory, several beliefs side by side."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from generated_flights import flight_folder, open_map
from tilefix.embedders import open_embedder
from tilefix.flights.flight import open_flight
from tilefix.geodesy import Grid
from tilefix.localization.belief import Belief
from tilefix.localization.localizer import Localizer
from tilefix.maps.tileindex import TileIndex
from tilefix.types import Fix

PARTS = (
    "start_uniform",
    "move",
    "move_unknown",
    "update",
    "commit",
    "reconsider",
    "log_posterior",
    "mode",
    "spread_m",
    "evidence_near",
    "probability_near",
)
TRACKED_FRAMES = 10  # between two times that the place is forgotten: most are tracked, enough are searched
TRACED_FRAMES = 4  # for memory, of searches


class Meter:
    """Adds up what calls of a belief's methods take, not twice where they call each other. `nanoseconds`: of the
    thread's processor time. `peak_bytes`: the most that one call had beside what is held, while memory is traced."""

    def __init__(self) -> None:
        self.nanoseconds = self.peak_bytes = 0
        self._within = False

    def watch(self, belief: Belief) -> Belief:
        """The same belief, its methods measured."""
        for name in PARTS:
            setattr(belief, name, self._measured(getattr(belief, name)))
        return belief

    def _measured(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*args: Any) -> Any:
            with self._measure():
                return method(*args)

        return measured

    @contextmanager
    def _measure(self) -> Iterator[None]:
        if self._within:
            yield
            return
        self._within = True
        if tracing := tracemalloc.is_tracing():
            tracemalloc.reset_peak()
        held, begun_ns = tracemalloc.get_traced_memory()[0], time.thread_time_ns()
        try:
            yield
        finally:
            self.nanoseconds += time.thread_time_ns() - begun_ns
            if tracing:
                self.peak_bytes = max(self.peak_bytes, tracemalloc.get_traced_memory()[1] - held)
            self._within = False


def held_bytes(belief: Belief) -> int:
    """Memory of the arrays that a belief keeps."""
    return sum(value.nbytes for value in vars(belief).values() if isinstance(value, np.ndarray))


class _Measured:
    """A localizer whose belief is measured."""

    def __init__(self, make: Callable[[Grid, float], Belief], **parts: Any) -> None:
        self.meter = Meter()
        self.beliefs: list[Belief] = []
        self.spent_ms: dict[str, list[float]] = {"searched": [], "tracked": []}
        self._fixed = False

        def watched(grid: Grid, cell_m: float) -> Belief:
            self.beliefs.append(self.meter.watch(make(grid, cell_m)))
            return self.beliefs[-1]

        self.localizer = Localizer(**parts, belief=watched)

    def process(self, number: int, frame: Any, state: Any) -> None:
        """Takes in a frame, and notes what the belief did for it."""
        if number % TRACKED_FRAMES == 0:
            self.localizer.reset()
            self._fixed = False
        self.meter.nanoseconds = 0
        answer = self.localizer.process(frame, state)
        self.spent_ms["tracked" if self._fixed else "searched"].append(self.meter.nanoseconds / 1e6)
        self._fixed = isinstance(answer, Fix)


def costs(
    out: Path, flight_name: str, frames: int, makes: Mapping[str, Callable[[Grid, float], Belief]]
) -> dict[str, Any]:
    """For one flight of a set in `out`: cells of the map's grid, its km2, and for each belief the median milliseconds
    per frame `searched` and `tracked`, bytes `held` and the `peak` of a call beside them. Each frame is given to all
    beliefs, one after another."""
    cv2.setNumThreads(1)
    with closing(open_embedder(None)) as embedder:
        flight = open_flight(flight_folder(out, flight_name))
        package = open_map(out, int(flight_name.partition("-")[0]), embedder)
        parts = {
            "package": package,
            "index": TileIndex.open(package),
            "embedder": embedder,
            "camera": flight.camera,
            "mount": flight.mount,
        }
        measured = {name: _Measured(make, **parts) for name, make in makes.items()}
        shown = list(flight.frames(frames))
        for number, (row, frame) in enumerate(shown):
            for one in measured.values():
                one.process(number, frame, row.state)
        rows = {
            name: {kind: median(values) if values else None for kind, values in one.spent_ms.items()}
            | {"frames": {kind: len(values) for kind, values in one.spent_ms.items()}}
            for name, one in measured.items()
        }
        for name, make in makes.items():
            rows[name] |= _memory(_Measured(make, **parts), shown[:TRACED_FRAMES])
    grid, belief = package.grid, next(iter(measured.values())).beliefs[-1]
    km2 = grid.width_px * grid.height_px * grid.gsd_m**2 / 1e6
    return {"map_km2": km2, "cells": belief.rows * belief.columns, "cell_m": belief.cell_m, "beliefs": rows}


def _memory(one: _Measured, shown: list[tuple[Any, Any]]) -> dict[str, Any]:
    tracemalloc.start()
    try:
        for number, (row, frame) in enumerate(shown, start=1):
            one.process(number, frame, row.state)
    finally:
        tracemalloc.stop()
    return {"held": max(map(held_bytes, one.beliefs)), "peak": one.meter.peak_bytes}
