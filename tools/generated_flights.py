"""Records the flights of a table over generated worlds, and keeps their maps; nothing that it writes is committed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from generated_plans import Sortie, WorldSet
from tilefix.embedders import open_embedder
from tilefix.errors import TilefixError
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.maps.package import MapPackage
from tilefix.ports import Embedder
from tilefix.simulation.flights import fly_over
from tilefix.simulation.sight import Scenery
from tilefix.simulation.world import World, generate_world, satellite_look


def map_folder(out: Path, world: int) -> Path:
    """Where the map package of a world lies."""
    return out / "maps" / str(world)


def flight_folder(out: Path, name: str) -> Path:
    """Where a flight lies."""
    return out / "flights" / name


def record_world(out: Path, flown: WorldSet, world: int, table: Sequence[Sortie], model: str | None) -> int:
    """Builds the world's map and records its flights, those that are not there yet; gives how many were recorded."""
    missing = [one for one in table if not (flight_folder(out, one.name) / "flight.toml").is_file()]
    package = map_folder(out, world)
    if not missing and package.is_dir():
        return 0
    place = generate_world(world, size_m=flown.size_m, gsd_m=flown.gsd_m)
    if not package.is_dir():
        with contextlib.closing(open_embedder(model)) as embedder:
            build_map(place, package, flown, embedder)
    for one in missing:
        folder = flight_folder(out, one.name)
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        fly_over(Scenery(place.render(one.look), place.grid), place.frame, one.plan, folder)
    return len(missing)


def build_map(place: World, package: Path, flown: WorldSet, embedder: Embedder) -> None:
    """Builds the world's map from its satellite look."""
    pixels = place.render(satellite_look(place.seed))
    cover = np.full(pixels.shape[:2], 255, np.uint8)
    imagery = ArrayImagery(place.frame, place.grid, pixels, cover, f"generated world {place.seed}", "", "none")
    build_package(imagery, package, embedder=embedder, patch_m=flown.patch_m, stride_m=flown.stride_m)


def open_map(out: Path, world: int, embedder: Embedder) -> MapPackage:
    """The map of a world for this model; one that was built with another model is built anew from its own imagery."""
    path = map_folder(out, world)
    if not path.is_dir():
        raise TilefixError("no map of this world", where=path, mend="run `generate` first")
    with contextlib.suppress(TilefixError):
        return MapPackage.open(path, model=embedder.manifest, verify=False)
    old = MapPackage.open(path, verify=False)
    imagery = ArrayImagery(
        old.frame, old.grid, old.imagery, old.coverage, old.manifest.imagery.source, "", old.manifest.imagery.licence
    )
    return build_package(imagery, path, embedder=embedder, patch_m=old.manifest.patch_m, stride_m=old.manifest.stride_m)
