"""A small flight, replayed, gives the answers that stand in golden/: the guard against changes that nobody meant."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from support.clocks import ManualClock
from support.embedders import ThumbnailEmbedder
from tilefix.camera import CameraModel
from tilefix.evaluation.replay import fixes_csv, replay
from tilefix.flights.flight import open_flight
from tilefix.geodesy import LocalFrame
from tilefix.localization.localizer import Localizer, LocalizerSettings
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.simulation.camera import Exposure
from tilefix.simulation.flights import FlightPlan, fly_over
from tilefix.simulation.sight import Scenery
from tilefix.simulation.world import drone_look, generate_world, satellite_look

GOLDEN = Path(__file__).parent / "golden" / "village.csv"
WRITE = "TILEFIX_WRITE_GOLDEN"
COMMAND = f"{WRITE}=1 .venv/bin/pytest tests/replay/test_golden.py"

SEED = 1600
CAMERA = CameraModel.from_hfov(240, 180, 60.0)
PLAN = FlightPlan(
    agl_m=90.0,
    speed_mps=8.0,
    rate_hz=2.0,
    duration_s=16.0,
    seed=SEED,
    camera=CAMERA,
    exposure=Exposure(gain=0.97, blur_px=0.4, noise=0.012, vignette=0.2),
    lossless=True,
)
# What goes wrong on the way: a covered lens, one row without height, and pictures of another place.
DARK = range(10, 12)
NO_HEIGHT = 15
ELSEWHERE = range(20, 26)

# Between Pythons, NumPys and OpenCVs, float rounding differs; a change of method is far larger.
POSITION_M = 0.05
SIGMA_SHARE = 0.02
VELOCITY_MPS = 0.05
EXACT = ("frame", "time_s", "kind", "reason", "match_age_s", "false_fix")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[MapPackage, Path]:
    """The satellite's map of a world, and a flight that shows the drone's view of it."""
    folder = tmp_path_factory.mktemp("golden")
    world = generate_world(SEED, size_m=520.0, gsd_m=0.5)
    pixels = world.render(satellite_look(SEED))
    cover = np.full(pixels.shape[:2], 255, np.uint8)
    imagery = ArrayImagery(world.frame, world.grid, pixels, cover, "generated", "2024", "none")
    package = build_package(imagery, folder / "map", embedder=ThumbnailEmbedder(), patch_m=80.0, stride_m=40.0)
    flight = folder / "flight"
    fly_over(Scenery(world.render(drone_look(SEED)), world.grid), world.frame, PLAN, flight)
    _damage(flight)
    return package, flight


def _damage(flight: Path) -> None:
    frames = flight / "frames"
    for number in DARK:
        cv2.imwrite(str(frames / f"{number:06d}.png"), np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8))
    for number in ELSEWHERE:
        path = frames / f"{number:06d}.png"
        cv2.imwrite(str(path), np.ascontiguousarray(cv2.imread(str(path))[:, ::-1]))
    lines = (flight / "log.csv").read_text().splitlines()
    header, row = lines[0].split(","), lines[1 + NO_HEIGHT].split(",")
    row[header.index("agl_m")] = ""
    lines[1 + NO_HEIGHT] = ",".join(row)
    (flight / "log.csv").write_text("\n".join(lines) + "\n")


def _replayed(scene: tuple[MapPackage, Path], settings: LocalizerSettings) -> str:
    package, folder = scene
    flight = open_flight(folder)
    localizer = Localizer(package, TileIndex.open(package), ThumbnailEmbedder(), flight.camera, flight.mount, settings)
    return fixes_csv(replay(flight, localizer, package.frame, package.grid, ManualClock()).answers)


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def _differences(replayed: str, golden: str, local: LocalFrame) -> list[str]:
    """One line for each answer that is not as it was."""
    found, expected = _rows(replayed), _rows(golden)
    lines = [f"{len(found)} rows, not {len(expected)}"] if len(found) != len(expected) else []
    for new, old in zip(found, expected, strict=False):
        lines += [f"frame {old['frame']}: {what}" for what in _changes(new, old, local)]
    return lines


def _changes(new: Mapping[str, str], old: Mapping[str, str], local: LocalFrame) -> list[str]:
    changed = [f"{name} {new[name] or '-'}, not {old[name] or '-'}" for name in EXACT if new[name] != old[name]]
    if not (new["lat_deg"] and old["lat_deg"]):
        return changed
    places = [local.to_local(float(row["lat_deg"]), float(row["lon_deg"])) for row in (new, old)]
    if (moved_m := math.dist(*places)) > POSITION_M:
        changed.append(f"position moved by {moved_m:.3f} m")
    if not math.isclose(float(new["sigma_m"]), float(old["sigma_m"]), rel_tol=SIGMA_SHARE):
        changed.append(f"sigma {new['sigma_m']} m, not {old['sigma_m']} m")
    changed += [
        f"{name} {new[name] or '-'}, not {old[name] or '-'}"
        for name in ("velocity_east_mps", "velocity_north_mps")
        if bool(new[name]) != bool(old[name]) or abs(float(new[name] or 0) - float(old[name] or 0)) > VELOCITY_MPS
    ]
    return changed


def test_a_flight_is_answered_as_it_was(scene: tuple[MapPackage, Path]) -> None:
    replayed = _replayed(scene, LocalizerSettings())
    if os.environ.get(WRITE) == "1":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(replayed, newline="\n")
        pytest.skip(f"{GOLDEN} written: look at what changed before it is committed")
    differences = _differences(replayed, GOLDEN.read_text(), scene[0].frame)
    if differences:
        shown = "\n".join(differences[:20] + [f"... {len(differences) - 20} more"] * (len(differences) > 20))
        pytest.fail(
            f"the flight is answered otherwise than before:\n{shown}\nif this is meant: {COMMAND}", pytrace=False
        )


def test_another_setting_is_noticed(scene: tuple[MapPackage, Path]) -> None:
    """The guard itself: each of these changes one frame at least."""
    package, _ = scene
    for settings in (LocalizerSettings(max_blind_s=0.7), LocalizerSettings(map_sigma_m=1.6)):
        assert _differences(_replayed(scene, settings), GOLDEN.read_text(), package.frame)
