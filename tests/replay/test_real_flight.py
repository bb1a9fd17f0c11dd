"""The real flight of ../shared/data on its orthophoto, and on that orthophoto mirrored: the whole way, in short."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.tools import load_tool
from tilefix.camera import CameraModel
from tilefix.embedders import open_embedder
from tilefix.evaluation.replay import Replay, first_truth, replay
from tilefix.flights.flight import Flight, open_flight
from tilefix.localization.localizer import Localizer
from tilefix.mapbuild.build import BuildOptions, build_map
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.timing import MonotonicClock

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FRAMES = 16
pytestmark = [
    pytest.mark.imagery,
    pytest.mark.skipif(not (DATA / "nust_islamabad").is_dir(), reason="no ../shared/data"),
]


@pytest.fixture(scope="module")
def flight(tmp_path_factory: pytest.TempPathFactory) -> Flight:
    """Every 15th frame of the flight."""
    return open_flight(load_tool("real_flights").prepare_nust(DATA, tmp_path_factory.mktemp("flight") / "nust"))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    """The orthophoto, with few tiles so that it is built quickly."""
    pytest.importorskip("rasterio")
    imagery = DATA / "nust_islamabad" / "orthophoto.tif"
    out = tmp_path_factory.mktemp("map") / "nust"
    return build_map(imagery, out, embedder=open_embedder(), options=BuildOptions(patch_m=48.0, stride_m=48.0))


def _replay(flight: Flight, package: MapPackage, *, hinted: bool) -> Replay:
    localizer = Localizer(package, TileIndex.open(package), open_embedder(), flight.camera, flight.mount)
    hint = first_truth(flight, 25.0) if hinted else None
    return replay(flight, localizer, package.frame, package.grid, MonotonicClock(), hint=hint, limit=FRAMES)


@pytest.mark.parametrize("hinted", [True, False])
def test_the_flight_is_found(flight: Flight, package: MapPackage, hinted: bool) -> None:
    assert flight.camera == CameraModel.from_hfov(852, 480, 73.7)
    score = _replay(flight, package, hinted=hinted).score
    assert score.frames == FRAMES
    assert score.availability >= 0.85
    assert score.median_error_m is not None
    assert score.median_error_m <= 5.0
    assert score.false_fixes == 0


def test_the_mirrored_map_gives_no_fix(flight: Flight, package: MapPackage, tmp_path: Path) -> None:
    mirrored = load_tool("real_maps").mirrored_map(package, tmp_path / "mirrored", open_embedder())
    score = _replay(flight, mirrored, hinted=True).score
    assert (score.fixes, score.coasts) == (0, 0)
    assert set(score.reasons) <= {"NO_MATCH", "AMBIGUOUS"}
