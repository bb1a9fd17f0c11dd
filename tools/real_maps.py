"""Makes map packages out of the real imagery in ../shared/data, and flights of a simulated camera over them."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import cv2
import numpy as np

from tilefix.camera import CameraModel, Mount
from tilefix.errors import MapError
from tilefix.flights.flight import FlightRow
from tilefix.flights.writer import FlightWriter
from tilefix.mapbuild.build import BuildOptions, build_map
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.maps.package import MapPackage
from tilefix.ports import Embedder
from tilefix.simulation.camera import Exposure, expose, render_view
from tilefix.types import VehicleState

NAIP_YEARS = (2010, 2014, 2017, 2020)
NAIP_CAMERA = CameraModel.from_hfov(640, 480, 60.0)
NAIP_AGL_M = 1100.0  # 1270 x 950 m in view, 254 x 190 pixels of the map
NAIP_FRAMES = 80
NAIP_SPEED_MPS = 28.0
NAIP_SWAY_M = 200.0
# What the simulated autopilot gets wrong, one standard deviation, frame by frame.
NAIP_ATTITUDE_SIGMA_DEG = 0.1
NAIP_HEADING_SIGMA_DEG = 0.5
NAIP_HEIGHT_SIGMA = 0.005
NAIP_EXPOSURE = Exposure(gain=0.95, blur_px=0.6, noise=0.01, vignette=0.15)


def nust_map(data: Path, out: Path, embedder: Embedder) -> MapPackage:
    """The orthophoto of Islamabad."""
    return build_map(data / "nust_islamabad" / "orthophoto.tif", out, embedder=embedder)


def mirrored_map(original: MapPackage, out: Path, embedder: Embedder) -> MapPackage:
    """A map with east and west exchanged: everything looks as real, and nothing is where it is."""
    manifest = original.manifest
    imagery = ArrayImagery(
        frame=original.frame,
        grid=original.grid,
        pixels=np.ascontiguousarray(original.imagery[:, ::-1]),
        coverage=np.ascontiguousarray(original.coverage[:, ::-1]),
        source=f"{manifest.imagery.source}, mirrored",
        date=manifest.imagery.date,
        licence=manifest.imagery.licence,
    )
    return build_package(imagery, out, embedder=embedder, patch_m=manifest.patch_m, stride_m=manifest.stride_m)


def naip_map(data: Path, year: int, out: Path, embedder: Embedder) -> MapPackage:
    """One year of North Dakota."""
    folder = data / "naip_north_dakota"
    found = sorted(folder.glob(f"*_{year}????.tif"))
    if len(found) != 1:
        raise MapError(f"{len(found)} pictures of {year}", where=folder, mend="give --data")
    return build_map(found[0], out, embedder=embedder, options=BuildOptions(date=str(year)))


def naip_flight(package: MapPackage, year: int, folder: Path) -> Path:
    """A simulated camera flown high over one year's imagery, one frame a second; gives the folder.

    The track sways about a line eastwards; attitude, heading and height in the log carry noise.
    """
    shutil.rmtree(folder, ignore_errors=True)
    rng = np.random.default_rng(year)
    mount = Mount()
    grid = package.grid
    middle_m = 0.5 * (grid.west_m + grid.east_m), 0.5 * (grid.south_m + grid.north_m)
    turn = 2.0 * math.pi / NAIP_FRAMES
    with FlightWriter(folder, frames="*.jpg", camera=NAIP_CAMERA, mount=mount) as writer:
        for k in range(NAIP_FRAMES):
            east_m = middle_m[0] + NAIP_SPEED_MPS * (k - 0.5 * NAIP_FRAMES)
            north_m = middle_m[1] + NAIP_SWAY_M * math.sin(turn * k)
            north_mps = NAIP_SWAY_M * turn * math.cos(turn * k)
            north_mps2 = -NAIP_SWAY_M * turn**2 * math.sin(turn * k)
            yaw_deg = math.degrees(math.atan2(NAIP_SPEED_MPS, north_mps))
            # Across the track, to the right, in units of gravity: the bank of a coordinated turn.
            side_mps2 = -north_mps2 * NAIP_SPEED_MPS / math.hypot(NAIP_SPEED_MPS, north_mps)
            roll_deg = math.degrees(math.atan2(side_mps2, 9.81))
            picture = render_view(
                package.imagery, grid, NAIP_CAMERA, mount, east_m, north_m, NAIP_AGL_M, roll_deg, 0.0, yaw_deg
            )
            name = f"{k:04d}.jpg"
            image = cv2.cvtColor(expose(picture, NAIP_EXPOSURE, rng), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(folder / name), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
            noise = rng.standard_normal(4)
            state = VehicleState(
                k * 1_000_000_000,
                roll_deg + NAIP_ATTITUDE_SIGMA_DEG * noise[0],
                NAIP_ATTITUDE_SIGMA_DEG * noise[1],
                yaw_deg + NAIP_HEADING_SIGMA_DEG * noise[2],
                NAIP_AGL_M * (1.0 + NAIP_HEIGHT_SIGMA * noise[3]),
            )
            writer.add(FlightRow(name, float(k), state, package.frame.to_geodetic(east_m, north_m)))
    return folder
