"""Replays recorded flights without a hint: whole ones, and many starts of each."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import tilefix
from generated_figures import Record, true_motion, write_record
from generated_flights import flight_folder, open_map
from generated_plans import Sortie
from generated_survey import level, surveyed
from tilefix.embedders import open_embedder
from tilefix.errors import TilefixError
from tilefix.evaluation.replay import replay
from tilefix.evaluation.results import write_results
from tilefix.evaluation.scoring import judge
from tilefix.flights.flight import Flight, open_flight
from tilefix.geodesy import Grid
from tilefix.localization.localizer import Localizer, LocalizerSettings
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.ports import Embedder
from tilefix.simulation.world import satellite_look
from tilefix.timing import MonotonicClock

NO_DECISION = ("errors",)
HINT_TRIES = 200  # directions: of a small map few lead to another place on it
STANDS_FRAMES = 5  # that a first fix is watched before the next start: a wrong one shows by then


@functools.cache
def code_hash() -> str:
    """A hash of what decides, the localizer and all that it imports: answers of other code are not taken for its."""
    folder = Path(tilefix.__file__).parent
    texts: dict[str, str] = {}
    ahead = ["localization.localizer"]
    while ahead:
        name = ahead.pop()
        if name not in texts and name not in NO_DECISION:
            path = folder / name.replace(".", "/")
            file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            texts[name] = file.read_text(encoding="utf-8")
            ahead += re.findall(r"^from tilefix\.([\w.]+) import", texts[name], re.MULTILINE)
    return hashlib.sha256("".join(texts[name] for name in sorted(texts)).encode()).hexdigest()[:16]


def state_of(embedder: Embedder, frames: int | None) -> dict[str, Any]:
    """What an answer depends on beside the flight."""
    model = embedder.manifest
    return {"model": model.sha256, "code": code_hash(), "settings": asdict(LocalizerSettings()), "frames": frames}


def facts_of(sortie: Sortie) -> dict[str, Any]:
    """What the tables say of a flight."""
    plan = sortie.plan
    return {
        "world": sortie.world,
        "agl_m": plan.agl_m,
        "speed_mps": plan.speed_mps,
        "rate_hz": plan.rate_hz,
        "airframe": "plane" if plan.airframe.banks else "copter",
        "wind_mps": round(math.hypot(plan.weather.wind_east_mps, plan.weather.wind_north_mps), 2),
        "season": sortie.look.season.name.lower(),
        "map_season": satellite_look(sortie.world).season.name.lower(),
    }


def _open(
    out: Path, sortie: Sortie, embedder: Embedder, *, terrain: bool = False
) -> tuple[Flight, MapPackage, Localizer]:
    flight = open_flight(flight_folder(out, sortie.name))
    package = open_map(out, sortie.world, embedder)
    if terrain:
        package = replace(package, terrain=surveyed(level(package.grid), sortie.world, package.grid))
    return flight, package, Localizer(package, TileIndex.open(package), embedder, flight.camera, flight.mount)


def run_flight(
    out: Path,
    results: Path,
    sortie: Sortie,
    frames: int | None,
    model: str | None,
    *,
    heading: bool = True,
    terrain: bool = False,
) -> Path:
    """Replays one flight with no hint and gives the JSON file of its record; one of the same state is kept. `heading`:
    False to take it out of the log; `terrain`: True for a map that knows the ground's heights."""
    path = results / f"{sortie.name}.json"
    with contextlib.closing(open_embedder(model)) as embedder:
        state = state_of(embedder, frames)
        if _state(path) == state:
            return path
        flight, package, localizer = _open(out, sortie, embedder, terrain=terrain)
        if not heading:
            rows = (replace(row, state=replace(row.state, yaw_deg=None)) for row in flight.rows)
            flight = replace(flight, rows=tuple(rows))
        done = replay(flight, localizer, package.frame, package.grid, MonotonicClock(), limit=frames)
    truth_m, truth_mps = true_motion(done.answers, package.frame)
    write_record(
        path,
        Record(sortie.name, facts_of(sortie), state, done.answers, truth_m, truth_mps, done.latency.p50_ms),
    )
    return path


def _state(path: Path) -> object:
    with contextlib.suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8")).get("state")
    return None


@dataclass(frozen=True, slots=True)
class Start:
    """One start without a hint. `found`: False when the flight ended first; `false_fixes`: up to the next start."""

    flight: str
    agl_m: float
    map_km2: float
    found: bool
    frames: int
    seconds: float
    metres: float
    false_fixes: int


@dataclass(frozen=True, slots=True)
class WrongHint:
    """What every start is told: a place so far from the true one, in any direction, as if known to that sigma."""

    off_m: float
    sigma_m: float

    def place(self, here: tuple[float, float], grid: Grid, rng: np.random.Generator) -> tuple[float, float]:
        """The place told, east and north, on the map. Raises `TilefixError` where the map is too small."""
        for turn in rng.uniform(0.0, 2.0 * math.pi, HINT_TRIES):
            place = here[0] + self.off_m * math.sin(turn), here[1] + self.off_m * math.cos(turn)
            if grid.contains(*place):
                return place
        raise TilefixError(f"no place {self.off_m:g} m off lies on the map", mend="take a set of larger maps")


def converge_flight(
    out: Path, results: Path, sortie: Sortie, frames: int | None, model: str | None, *, hint: WrongHint | None = None
) -> Path:
    """Starts over and over along one flight and gives the JSON file of the starts; one of the same state is kept.

    Once a first fix has stood for `STANDS_FRAMES`, the localizer forgets its place, as it does at the loss of GNSS.
    `hint`: what it is told at each start; nothing by default.
    """
    path = results / f"{sortie.name}.json"
    with contextlib.closing(open_embedder(model)) as embedder:
        state = state_of(embedder, frames)
        if hint is not None:
            state["hint"] = asdict(hint)
        if _state(path) == state:
            return path
        starts = list(starts_along(*_open(out, sortie, embedder), sortie, frames, hint))
    content = {"name": sortie.name, "state": state, "starts": [asdict(start) for start in starts]}
    write_results(results, {path.name: json.dumps(content, indent=1) + "\n"})
    return path


def starts_along(
    flight: Flight,
    package: MapPackage,
    localizer: Localizer,
    sortie: Sortie,
    limit: int | None,
    hint: WrongHint | None = None,
) -> Iterator[Start]:
    """The starts of a localizer along the flight's first `limit` frames, as `converge_flight` says."""
    grid = package.grid
    rng = np.random.default_rng([sortie.plan.seed, 2])
    map_km2 = grid.width_px * grid.height_px * grid.gsd_m**2 / 1e6
    begun_s: float | None = None
    before: tuple[float, float] | None = None
    seen = stood = false_fixes = 0
    metres = 0.0
    found: tuple[int, float, float] | None = None

    def start(at: tuple[int, float, float], done: bool) -> Start:
        frames, seconds, flown_m = at
        return Start(
            sortie.name, sortie.plan.agl_m, round(map_km2, 2), done, frames, seconds, round(flown_m, 2), false_fixes
        )

    row = None
    for row, frame in flight.frames(limit):
        assert row.truth is not None
        here = package.frame.to_local(*row.truth)
        if begun_s is None:
            begun_s, before, metres, seen, stood, false_fixes, found = row.time_s, here, 0.0, 0, 0, 0, None
            if hint is not None:
                localizer.hint(*package.frame.to_geodetic(*hint.place(here, grid, rng)), hint.sigma_m)
        assert before is not None
        metres += math.dist(before, here)
        before = here
        seen += 1
        answer = judge(row.frame, row.time_s, localizer.process(frame, row.state), row.truth, package.frame, grid.gsd_m)
        false_fixes += answer.false_fix
        if found is None and answer.kind == "fix":
            found = seen, row.time_s - begun_s, metres
        if found is not None:
            stood += 1
            if stood == STANDS_FRAMES:
                yield start(found, True)
                localizer.reset()
                begun_s = None
    if begun_s is not None and row is not None:
        yield start(found or (seen, row.time_s - begun_s, metres), found is not None)


def read_starts(path: Path) -> list[Start]:
    """What `converge_flight` wrote."""
    return [Start(**cells) for cells in json.loads(path.read_text(encoding="utf-8"))["starts"]]
