"""Ground heights from a GeoTIFF onto a map's grid, and into a package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyproj
import pytest

import tilefix.embedders
from support.embedders import ThumbnailEmbedder
from support.rasters import textured, write_geotiff
from tilefix.cli import main
from tilefix.errors import MapError
from tilefix.geodesy import Grid, LocalFrame
from tilefix.mapbuild.terrain import height_grid, read_terrain
from tilefix.maps.package import MapPackage

rasterio = pytest.importorskip("rasterio")
FRAME = LocalFrame(48.14, 11.57)
IMAGERY = Grid(-300.0, 200.0, 0.5, 1200, 800)  # 600 x 400 m


def height_at(east_m: np.ndarray, north_m: np.ndarray) -> np.ndarray:
    """A tilted plane with a bend: what the DEMs of these tests show."""
    return 500.0 + 0.05 * east_m - 0.08 * north_m + 4.0 * np.sin(east_m / 150.0)


def write_dem(path: Path, crs: str, step: float, *, dtype: str = "float32", scale: float = 1.0, **more: object) -> Path:
    """A DEM of 1600 x 1400 m around `FRAME` in a CRS, pixels of `step` (its units), in heights of `scale` metres."""
    horizontal = pyproj.CRS(crs).to_2d() if not pyproj.CRS(crs).is_compound else pyproj.CRS(crs).sub_crs_list[0]
    to_crs = pyproj.Transformer.from_crs(FRAME.proj4, horizontal, always_xy=True)
    x, y = to_crs.transform([-800.0, 800.0, -800.0, 800.0], [-700.0, -700.0, 700.0, 700.0])
    transform = rasterio.Affine(step, 0.0, min(x), 0.0, -step, max(y))
    columns, rows = np.meshgrid(np.arange(int((max(x) - min(x)) / step)), np.arange(int((max(y) - min(y)) / step)))
    east, north = to_crs.transform(
        transform.c + step * (columns + 0.5), transform.f - step * (rows + 0.5), direction="INVERSE"
    )
    heights = (height_at(np.asarray(east), np.asarray(north)) / scale).astype(dtype)
    return write_geotiff(path, heights[None], crs=crs, transform=transform, **more)


def truth(grid: Grid) -> np.ndarray:
    east, north = grid.to_local(*np.meshgrid(np.arange(grid.width_px), np.arange(grid.height_px)))  # type: ignore[arg-type]
    return height_at(np.asarray(east), np.asarray(north))


@pytest.mark.parametrize(
    ("crs", "step", "gsd_m"),
    [
        ("EPSG:32632", 10.0, 10.0),
        ("EPSG:25833", 10.0, 10.0),  # a zone off: north is 2.6 degrees askew
        ("EPSG:4326", 0.0002, 14.9),  # 22 m north, 15 m east
        ("EPSG:3857", 15.0, 10.0),
        ("EPSG:32632", 0.5, 2.0),  # no finer than 2 m: means of 16 pixels
    ],
)
def test_heights_land_where_they_are(tmp_path: Path, crs: str, step: float, gsd_m: float) -> None:
    terrain = read_terrain(write_dem(tmp_path / "dem.tif", crs, step), FRAME, IMAGERY).terrain
    assert terrain.grid.gsd_m == pytest.approx(gsd_m, rel=0.01)
    assert terrain.grid.west_m <= IMAGERY.west_m
    assert terrain.grid.east_m >= IMAGERY.east_m
    assert terrain.grid.south_m <= IMAGERY.south_m
    assert terrain.grid.north_m >= IMAGERY.north_m
    np.testing.assert_allclose(terrain.height_m, truth(terrain.grid), atol=0.02)


@pytest.mark.parametrize(("unit", "metres"), [("m", 1.0), ("ft", 0.3048), ("US survey foot", 1200.0 / 3937.0)])
def test_units_of_the_band(tmp_path: Path, unit: str, metres: float) -> None:
    path = write_dem(tmp_path / "dem.tif", "EPSG:32632", 10.0, scale=metres)
    with rasterio.open(path, "r+") as data:
        data.units = (unit,)
    terrain = read_terrain(path, FRAME, IMAGERY).terrain
    np.testing.assert_allclose(terrain.height_m, truth(terrain.grid), atol=0.02)


def test_whole_numbers_scale_and_offset(tmp_path: Path) -> None:
    path = write_dem(tmp_path / "dem.tif", "EPSG:32632", 10.0, scale=0.1, dtype="int32")
    with rasterio.open(path, "r+") as data:
        data.scales, data.offsets = (0.1,), (7.0,)
    terrain = read_terrain(path, FRAME, IMAGERY).terrain
    np.testing.assert_allclose(terrain.height_m, truth(terrain.grid) + 7.0, atol=0.11)


def test_the_vertical_datum_is_written_down(tmp_path: Path) -> None:
    named = read_terrain(write_dem(tmp_path / "a.tif", "EPSG:32632+5773", 20.0), FRAME, IMAGERY)
    assert named.datum == "EGM96 height"
    assert read_terrain(write_dem(tmp_path / "b.tif", "EPSG:32632", 20.0), FRAME, IMAGERY).datum == ""


def test_a_vertical_datum_in_feet(tmp_path: Path) -> None:
    path = write_dem(tmp_path / "dem.tif", "EPSG:32632+6360", 20.0, scale=1200.0 / 3937.0)  # NAVD88 height (ftUS)
    terrain = read_terrain(path, FRAME, IMAGERY)
    assert terrain.datum == "NAVD88 height (ftUS)"
    np.testing.assert_allclose(terrain.terrain.height_m, truth(terrain.terrain.grid), atol=0.03)


def test_what_the_dem_does_not_know_stays_unknown(tmp_path: Path) -> None:
    path = write_dem(tmp_path / "dem.tif", "EPSG:32632", 10.0, nodata=-32768.0)
    with rasterio.open(path, "r+") as data:
        band = data.read(1)
        band[:, : band.shape[1] // 2 - 20] = -32768.0
        data.write(band, 1)
    terrain = read_terrain(path, FRAME, IMAGERY).terrain
    known = np.isfinite(terrain.height_m)
    assert 0.6 < known.mean() < 0.95
    np.testing.assert_allclose(terrain.height_m[known], truth(terrain.grid)[known], atol=0.02)


def test_a_grid_of_heights_stays_small() -> None:
    # The finest terrain over 60 x 60 km.
    grid = height_grid(Grid(-30_000.0, 30_000.0, 0.5, 120_000, 120_000), 1.0)
    assert grid.width_px * grid.height_px <= 25_000_000
    assert height_grid(IMAGERY, 30.0).gsd_m == 30.0
    assert height_grid(IMAGERY, 0.2).gsd_m == 2.0


def absurd(path: Path) -> None:
    with rasterio.open(path, "r+") as data:
        band = data.read(1)
        band[::3, ::3] = 65535.0
        data.write(band, 1)


def in_fathoms(path: Path) -> None:
    with rasterio.open(path, "r+") as data:
        data.units = ("fathom",)


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (absurd, "heights of .* beyond -500 to 9000"),
        (in_fathoms, "heights in 'fathom'"),
        (lambda path: path.write_bytes(b"not a DEM"), "not a GeoTIFF"),
        (lambda path: path.write_bytes(path.read_bytes()[:4000]), "damaged or cut short"),
        (lambda path: path.unlink(), "cannot read the terrain"),
    ],
)
def test_terrain_that_is_refused(tmp_path: Path, edit: object, match: str) -> None:
    path = write_dem(tmp_path / "dem.tif", "EPSG:32632", 10.0)
    edit(path)  # type: ignore[operator]
    with pytest.raises(MapError, match=match) as caught:
        read_terrain(path, FRAME, IMAGERY)
    assert "dem.tif" in str(caught.value)
    assert caught.value.mend


def test_terrain_of_another_place_is_refused(tmp_path: Path) -> None:
    path = write_dem(tmp_path / "dem.tif", "EPSG:32632", 10.0)
    with pytest.raises(MapError, match="knows 0 % of the map"):
        read_terrain(path, LocalFrame(47.0, 11.0), IMAGERY)


def test_heights_above_an_ellipsoid_are_refused(tmp_path: Path) -> None:
    path = write_dem(tmp_path / "dem.tif", "EPSG:4979", 0.0002)
    with pytest.raises(MapError, match="above the ellipsoid"):
        read_terrain(path, FRAME, IMAGERY)


def test_the_command_takes_terrain_and_tells_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tilefix.embedders, "open_embedder", lambda model=None: ThumbnailEmbedder(patch_px=32, side=6))
    imagery = write_geotiff(tmp_path / "in.tif", np.moveaxis(textured(160, 200), 2, 0))
    whole = rasterio.Affine(20.0, 0.0, 690_500.0, 0.0, -20.0, 5_335_500.0)
    heights = np.linspace(480.0, 520.0, 60 * 60, dtype=np.float32).reshape(1, 60, 60)
    dem = write_geotiff(tmp_path / "dem.tif", heights, crs="EPSG:32632+5773", transform=whole)
    build = ["map", "build", "--imagery", str(imagery), "--terrain", str(dem), "--out"]
    assert main([*build, str(tmp_path / "a")]) == main([*build, str(tmp_path / "b")]) == 0
    assert (tmp_path / "a" / "height.npy").read_bytes() == (tmp_path / "b" / "height.npy").read_bytes()
    said = capsys.readouterr()
    assert "reading terrain: 100 %" in said.err
    assert "m above EGM96 height, 20 m/px, 100.0 % known, from dem.tif" in said.out
    terrain = MapPackage.open(tmp_path / "a").terrain
    assert terrain is not None
    assert main(["map", "info", str(tmp_path / "a"), "--json"]) == 0
    relief = json.loads(capsys.readouterr().out)["relief"]
    assert relief["lowest_m"] == pytest.approx(float(terrain.height_m.min()))
    assert main(["map", "check", str(tmp_path / "a")]) == 0
    assert "Terrain from 4" in capsys.readouterr().out
    assert main([*build, str(tmp_path / "a")]) == 0  # it may be replaced
    capsys.readouterr()
    dem.write_bytes(b"II*\0nonsense")
    assert main([*build, str(tmp_path / "c")]) == 2
    assert not (tmp_path / "c").exists()
