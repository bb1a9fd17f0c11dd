"""What the configuration says of map and height reaches the localizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import CAMERA, LOCAL, flight_over, small_map
from tilefix.errors import MapError
from tilefix.flights.flight import open_flight
from tilefix.service.assembly import localizer_of
from tilefix.service.config import load_config
from tilefix.types import Fix

CONFIG = f"""\
[map]
path = "map"
offset_east_m = {{}}
offset_north_m = {{}}
[camera]
source = "v4l2:0"
width = {CAMERA.width}
height = {CAMERA.height}
hfov_deg = 60
[link]
url = "udpin:127.0.0.1:14550"
"""


def test_a_map_offset_moves_every_fix(tmp_path: Path) -> None:
    embedder = ThumbnailEmbedder()
    flight = open_flight(flight_over(small_map(tmp_path / "map", embedder), tmp_path / "flight"))
    places = []
    for east_m, north_m in ((0.0, 0.0), (5.0, -3.0)):
        (tmp_path / "tilefix.toml").write_text(CONFIG.format(east_m, north_m))
        localizer = localizer_of(load_config(tmp_path / "tilefix.toml"), embedder)
        answers = [localizer.process(frame, row.state) for row, frame in flight.frames()]
        places.append([LOCAL.to_local(a.lat_deg, a.lon_deg) for a in answers if isinstance(a, Fix)])
    assert len(places[0]) == len(places[1]) >= 4
    assert np.array(places[1]) - np.array(places[0]) == pytest.approx(
        np.tile((5.0, -3.0), (len(places[0]), 1)), abs=0.01
    )


def test_height_from_terrain_asks_for_a_map_that_has_it(tmp_path: Path) -> None:
    embedder = ThumbnailEmbedder()
    small_map(tmp_path / "map", embedder)
    (tmp_path / "tilefix.toml").write_text(CONFIG.format(0.0, 0.0) + '[height]\nsource = "terrain"\n')
    with pytest.raises(MapError, match="has no terrain"):
        localizer_of(load_config(tmp_path / "tilefix.toml"), embedder)
