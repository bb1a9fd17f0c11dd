"""The ground below a SITL flight: generated worlds, map packages, imagery on disk, or a folder that was kept of one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from simulate_flight import open_scenery
from tilefix.errors import MapError
from tilefix.geodesy import Grid, LocalFrame
from tilefix.simulation.looks import Look, Season, drone_look
from tilefix.simulation.sight import Scenery
from tilefix.simulation.world import World, generate_world

KEPT_FILE = "ground.json"
_PIXELS_FILE = "pixels.npy"
WORLD_M = 2100.0
WORLD_GSD_M = 0.5


@dataclass(frozen=True)
class Ground:
    """What lies below. `plane_amsl_m`: height above the sea of the plane that hills rise from, where it is known."""

    scenery: Scenery
    frame: LocalFrame
    plane_amsl_m: float | None = None


@dataclass(frozen=True)
class Weather:
    """How a generated world looks to the camera; what is `None` is drawn from the world's seed."""

    season: str | None = None
    sun_azimuth_deg: float | None = None
    sun_elevation_deg: float | None = None

    def look(self, seed: int) -> Look:
        """The drone's look of that world, with what was asked for. Raises `MapError` for an unknown season."""
        look = drone_look(seed)
        if self.season is not None:
            try:
                look = replace(look, season=Season[self.season.upper()])
            except KeyError:
                names = ", ".join(one.name.lower() for one in Season)
                raise MapError(f"no season {self.season}", mend=f"give one of {names}") from None
        if self.sun_azimuth_deg is not None:
            look = replace(look, sun_azimuth_deg=self.sun_azimuth_deg)
        if self.sun_elevation_deg is not None:
            look = replace(look, sun_elevation_deg=self.sun_elevation_deg)
        return look


def world_ground(seed: int, weather: Weather, world: World | None = None) -> Ground:
    """The generated world of that seed as the drone sees it."""
    look = weather.look(seed)
    world = world or generate_world(seed, size_m=WORLD_M, gsd_m=WORLD_GSD_M)
    return Ground(Scenery(world.render(look), world.grid), world.frame)


def open_ground(place: Path, scratch: Path) -> Ground:
    """The ground of a map package, of imagery (GeoTIFF, MBTiles, tiles) or of a folder that `keep_ground` wrote."""
    if (place / KEPT_FILE).is_file():
        return _kept(place)
    package = place if (place / "manifest.json").is_file() else None
    if package is None and not place.exists():
        raise MapError("does not exist", where=place, mend="give a map package or an orthophoto")
    scenery, frame, plane_m = open_scenery(package, None if package else place, scratch)
    return Ground(scenery, frame, plane_m)


def keep_ground(ground: Ground, folder: Path) -> None:
    """Writes flat ground so that `open_ground` has it back at once, memory-mapped."""
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{_PIXELS_FILE}.partial"
    with partial.open("wb") as file:
        np.save(file, ground.scenery.pixels)
    partial.replace(folder / _PIXELS_FILE)
    where = {"lat_deg": ground.frame.lat_deg, "lon_deg": ground.frame.lon_deg, "grid": asdict(ground.scenery.grid)}
    partial = folder / f"{KEPT_FILE}.partial"
    partial.write_text(json.dumps(where))
    partial.replace(folder / KEPT_FILE)


def _kept(folder: Path) -> Ground:
    try:
        where = json.loads((folder / KEPT_FILE).read_text())
        grid = Grid(**where["grid"])
        frame = LocalFrame(where["lat_deg"], where["lon_deg"])
        pixels = np.load(folder / _PIXELS_FILE, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise MapError(f"is no ground that was kept: {error}", where=folder, mend="make it again") from error
    if pixels.dtype != np.uint8 or pixels.shape != (grid.height_px, grid.width_px, 3):
        raise MapError("pixels do not fit their grid", where=folder, mend="make it again")
    return Ground(Scenery(pixels, grid), frame)
