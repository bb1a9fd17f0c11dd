"""Imagery that is broken, cut short or made up to hurt: one clear error each, and nothing left behind."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.rasters import textured, tile_block, write_geotiff, write_mbtiles, write_tiles
from tilefix.errors import MapError
from tilefix.mapbuild.build import BuildOptions, build_map
from tilefix.mapbuild.imagery import open_imagery
from tilefix.mapbuild.pictures import decode_picture, picture_info

rasterio = pytest.importorskip("rasterio")
EMBEDDER = ThumbnailEmbedder(patch_px=32, side=6)
PLACE = (48.1371, 11.5754)


def refuse(path: Path, tmp_path: Path, match: str, **options: object) -> None:
    """Building a map of `path` fails with that text, names the file, and leaves no trace."""
    folder = tmp_path / "maps"
    folder.mkdir(exist_ok=True)
    with pytest.raises(MapError, match=match) as caught:
        build_map(path, folder / "map", embedder=EMBEDDER, options=BuildOptions(**options))  # type: ignore[arg-type]
    assert path.name in str(caught.value) or "--" in str(caught.value)
    assert caught.value.mend
    assert list(folder.iterdir()) == []


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def tiny_tiff(path: Path, width: int, height: int, *, compression: int = 1, rows: int | None = None) -> Path:
    """A TIFF header of some hundred bytes that claims any size: georeferenced, one band of 8 bits."""
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, compression),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 4, 1, height if rows is None else rows),
        (279, 4, 1, 64),
    ]
    body = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    path.write_bytes(b"II*\0" + struct.pack("<I", 72) + bytes(64) + body + bytes(4) + bytes(700))
    return path


def test_a_huge_image_in_a_small_file(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tif"
    profile = {"width": 60_000, "height": 60_000, "count": 3, "dtype": "uint8", "crs": "EPSG:32632"}
    transform = rasterio.Affine(0.5, 0, 691000, 0, -0.5, 5335000)
    options = {"sparse_ok": True, "tiled": True, "compress": "deflate", "blockxsize": 16384, "blockysize": 16384}
    with rasterio.open(path, "w", driver="GTiff", transform=transform, **profile, **options):
        pass
    assert path.stat().st_size < 2000
    before = peak_bytes()
    refuse(path, tmp_path, "claims 60000 x 60000 px in a file of")
    assert peak_bytes() - before < 200e6


@pytest.mark.parametrize("compression", [1, 5, 8, 32773])
@pytest.mark.parametrize("rows", [None, 1])
def test_a_made_up_header(tmp_path: Path, compression: int, rows: int | None) -> None:
    path = tiny_tiff(tmp_path / "made-up.tif", 60_000, 60_000, compression=compression, rows=rows)
    refuse(path, tmp_path, "GeoTIFF|claims")


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("options", [{}, {"compress": "deflate"}, {"compress": "lzw", "tiled": True}])
def test_a_geotiff_cut_short(tmp_path: Path, share: float, options: dict[str, object]) -> None:
    whole = write_geotiff(tmp_path / "whole.tif", np.moveaxis(textured(300, 300), 2, 0), **options)
    data = whole.read_bytes()
    cut = tmp_path / "cut.tif"
    cut.write_bytes(data[: int(share * len(data))])
    refuse(cut, tmp_path, "damaged or cut short|no georeference|no coordinate")


def test_bytes_changed_anywhere_never_crash(tmp_path: Path) -> None:
    whole = write_geotiff(tmp_path / "in.tif", np.moveaxis(textured(64, 64), 2, 0), compress="deflate").read_bytes()
    rng = np.random.default_rng(0)
    for round_number in range(60):
        data = bytearray(whole)
        # The directory and its values stand at the start; the picture's data behind it.
        for at in rng.integers(4, 900 if round_number % 2 else len(data), 4):
            data[at] = int(rng.integers(256))
        path = tmp_path / "changed.tif"
        path.write_bytes(data)
        with contextlib.suppress(MapError):  # whatever else comes out is a fault
            source = open_imagery(path)
            source.read(0, 0, min(64, source.width_px), min(64, source.height_px))
            source.close()


@pytest.mark.parametrize(
    ("name", "data", "match"),
    [
        ("photo.png", cv2.imencode(".png", textured(64, 64))[1].tobytes(), "without georeference"),
        ("photo.jpg", cv2.imencode(".jpg", textured(64, 64))[1].tobytes(), "without georeference"),
        ("in.tif", b"", "not imagery"),
        ("in.tif", b"<html>404</html>", "not imagery"),
        ("in.tif", b"II*\0" + bytes(12), "damaged or cut short"),
        ("in.tif", b"II*\0" + b"\xff" * 40, "damaged or cut short"),
        ("in.vrt", b'<VRTDataset rasterXSize="9" rasterYSize="9"></VRTDataset>', "not imagery"),
        ("in.mbtiles", b"SQLite format 3\0" + b"\x17" * 5000, "not readable as MBTiles"),
        ("in.mbtiles", b"SQLite format 3\0", "not readable as MBTiles"),
    ],
)
def test_files_of_other_kinds(tmp_path: Path, name: str, data: bytes, match: str) -> None:
    (tmp_path / name).write_bytes(data)
    refuse(tmp_path / name, tmp_path, match)


def test_no_file_and_an_empty_folder(tmp_path: Path) -> None:
    refuse(tmp_path / "nowhere.tif", tmp_path, "No such file")
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", tmp_path, "holds no map tiles")


RGB = np.moveaxis(textured(64, 64), 2, 0)
UTM_500 = rasterio.Affine(500, 0, 5e5, 0, -500, 5.3e6)
BAD_GEOREFERENCES: dict[str, tuple[Callable[[Path], object], str]] = {
    "none": (lambda p: quiet(p, crs=None), "no georeference"),
    "no crs": (
        lambda p: write_geotiff(p, RGB, crs=None, transform=rasterio.Affine(0.5, 0, 6e5, 0, -0.5, 5e6)),
        "no coordinate reference system",
    ),
    "metres as degrees": (lambda p: write_geotiff(p, RGB, crs="EPSG:4326"), "off the earth"),
    "degrees as metres": (
        lambda p: write_geotiff(p, RGB, transform=rasterio.Affine(1e-5, 0, 11.5, 0, -1e-5, 48.1)),
        "pixels cover",
    ),
    "at the pole": (
        lambda p: write_geotiff(p, RGB, crs="EPSG:3413", transform=rasterio.Affine(10, 0, 0, 0, -10, 0)),
        "beyond 85 degrees",
    ),
    "an engineering crs": (
        lambda p: write_geotiff(
            p,
            RGB,
            crs='LOCAL_CS["site",UNIT["metre",1,AUTHORITY["EPSG","9001"]],AXIS["x",EAST],AXIS["y",NORTH]]',
            transform=rasterio.Affine(0.5, 0, 100, 0, -0.5, 100),
        ),
        "no way to WGS84|off the earth|no coordinate reference",
    ),
    "a continent": (
        lambda p: write_geotiff(p, RGB, transform=rasterio.Affine(20_000, 0, 3e5, 0, -20_000, 6e6)),
        "spans more than 100 km|off the earth|pixels cover",
    ),
    "128 km": (
        lambda p: write_geotiff(p, np.zeros((3, 256, 256), np.uint8), transform=UTM_500),
        "spans more than 100 km",
    ),
    "flat pixels": (
        lambda p: write_geotiff(p, RGB, transform=rasterio.Affine(0.5, 0, 691000, 0, -0.0001, 5335000)),
        "pixels cover",
    ),
    "degenerate": (
        lambda p: write_geotiff(p, RGB, transform=rasterio.Affine(0.5, 0.5, 691000, 0.5, 0.5, 5335000)),
        "degenerate|georeference",
    ),
}


def quiet(path: Path, crs: None) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_geotiff(path, RGB, crs=crs)


@pytest.mark.parametrize("name", BAD_GEOREFERENCES)
def test_georeferences_that_make_no_sense(tmp_path: Path, name: str) -> None:
    write, match = BAD_GEOREFERENCES[name]
    write(tmp_path / "in.tif")
    refuse(tmp_path / "in.tif", tmp_path, match)


def test_side_files_are_not_read(tmp_path: Path) -> None:
    quiet(tmp_path / "in.tif", crs=None)
    (tmp_path / "in.tfw").write_text("0.5\n0\n0\n-0.5\n691000\n5335000\n")
    (tmp_path / "in.tif.aux.xml").write_text("<PAMDataset><SRS>EPSG:32632</SRS></PAMDataset>")
    refuse(tmp_path / "in.tif", tmp_path, "no georeference")


def test_complex_pixels_and_too_many_bands(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "complex.tif", np.zeros((1, 64, 64), np.complex64))
    refuse(tmp_path / "complex.tif", tmp_path, "pixels of type complex64")
    write_geotiff(tmp_path / "bands.tif", np.zeros((65, 8, 8), np.uint8))
    refuse(tmp_path / "bands.tif", tmp_path, "65 bands")


def test_an_empty_image(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "in.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    refuse(tmp_path / "in.tif", tmp_path, "shows nothing")
    write_geotiff(tmp_path / "in.tif", np.zeros((3, 64, 64), np.uint16), nodata=0)
    refuse(tmp_path / "in.tif", tmp_path, "empty wherever")


# --- tiles -----------------------------------------------------------------------------------------------------------


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_bomb(width: int, height: int) -> bytes:
    """A valid small PNG that unpacks to width x height pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(bytes(1 << 20), 9))
        + png_chunk(b"IEND", b"")
    )


GOOD = {kind: cv2.imencode(f".{kind}", textured(256, 256))[1].tobytes() for kind in ("png", "jpg", "webp")}


@pytest.mark.parametrize("kind", GOOD)
def test_pictures_are_told_by_content(kind: str) -> None:
    info = picture_info(GOOD[kind], "here")
    assert (info.kind, info.width, info.height) == (kind, 256, 256)
    rgb, coverage = decode_picture(GOOD[kind], "here")
    assert rgb.shape == (256, 256, 3)
    assert coverage.min() == 255
    if kind != "jpg":  # OpenCV writes lossless PNG; WebP at quality 100 and JPEG at 95 come close
        assert np.abs(rgb[..., ::-1].astype(int) - textured(256, 256)).mean() < 12


@pytest.mark.parametrize("kind", GOOD)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_picture_cut_short_is_refused(kind: str, share: float) -> None:
    data = GOOD[kind]
    with pytest.raises(MapError, match=r"damaged or cut short|not a PNG"):
        decode_picture(data[: int(share * len(data))], "here")


def test_a_changed_png_is_refused() -> None:
    data = bytearray(GOOD["png"])
    data[len(data) // 2] ^= 4
    with pytest.raises(MapError, match="damaged"):
        decode_picture(bytes(data), "here")


@pytest.mark.parametrize(
    "data",
    [
        png_bomb(60_000, 60_000),
        png_bomb(4097, 16),
        GOOD["jpg"].replace(b"\x01\x00\x01\x00\x03", b"\xea\x60\xea\x60\x03"),
    ],
)
def test_picture_bombs_are_not_unpacked(data: bytes) -> None:
    before = peak_bytes()
    with pytest.raises(MapError, match=r"a map tile has at most|damaged"):
        decode_picture(data, "here")
    assert peak_bytes() - before < 100e6


def test_grey_alpha_and_wide_pictures() -> None:
    grey = np.full((64, 64), 77, np.uint8)
    assert decode_picture(cv2.imencode(".png", grey)[1].tobytes(), "")[0][5, 5].tolist() == [77, 77, 77]
    four = np.dstack([np.full((64, 64), v, np.uint8) for v in (10, 20, 30)] + [np.eye(64, dtype=np.uint8) * 255])
    rgb, coverage = decode_picture(cv2.imencode(".png", four)[1].tobytes(), "")
    assert rgb[3, 3].tolist() == [30, 20, 10]
    np.testing.assert_array_equal(coverage, np.eye(64, dtype=np.uint8) * 255)
    wide = np.full((64, 64, 3), 0xABAB, np.uint16)
    assert decode_picture(cv2.imencode(".png", wide)[1].tobytes(), "")[0][5, 5].tolist() == [0xAB] * 3


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "not a PNG"),
        (b"<html>", "not a PNG"),
        (GOOD["png"][:-20], "damaged"),
        (png_bomb(60_000, 60_000), "claims 60000"),
        (cv2.imencode(".png", textured(128, 128))[1].tobytes(), "others 256"),
        (bytes((16 << 20) + 1), "larger than|bytes"),
    ],
)
def test_one_bad_tile_among_good_ones(tmp_path: Path, data: bytes, match: str) -> None:
    folder = write_tiles(tmp_path / "tiles", *PLACE, 18, flat=True)
    sorted(folder.iterdir())[4].write_bytes(data)
    refuse(folder, tmp_path, match)


def test_a_tile_twice(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles", *PLACE, 18, flat=True)
    write_tiles(tmp_path / "tiles", *PLACE, 18, flat=False)
    refuse(folder, tmp_path, "there twice")


def test_tiles_all_over_the_world_need_a_box(tmp_path: Path) -> None:
    folder = write_tiles(tmp_path / "tiles", *PLACE, 18, flat=True)
    write_tiles(tmp_path / "tiles", -6.0, 39.2, 18, flat=True)
    refuse(folder, tmp_path, "cut a part with --bbox")


def mbtiles(path: Path, *statements: str) -> Path:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path


META = "CREATE TABLE metadata (name, value)"
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"


@pytest.mark.parametrize(
    ("statements", "match"),
    [
        ((META,), "no such table"),
        ((META, "CREATE TABLE tiles (zoom_level, tile_column, tile_row, tile_data)"), "no tiles"),
        ((META, "INSERT INTO metadata VALUES ('format', 'pbf')"), "vector tiles"),
        ((META, "CREATE VIEW tiles AS SELECT 'a' zoom_level, 1 tile_column, 1 tile_row, x'00' tile_data"), "address"),
        ((META, "CREATE VIEW tiles AS SELECT 3 zoom_level, 99 tile_column, 1 tile_row, x'00' tile_data"), "no tiles"),
        ((META, "CREATE VIEW tiles AS SELECT 3 zoom_level, 1 tile_column, 1 tile_row, 'x' tile_data"), "usual size"),
        (
            (
                META,
                "CREATE VIEW tiles AS SELECT 3 zoom_level, 1 tile_column, 1 tile_row, zeroblob(900000000) tile_data",
            ),
            "usual size" if sys.version_info < (3, 11) else "too big",
        ),
        (
            (META, f"CREATE VIEW tiles AS {ENDLESS} 99 zoom_level, i tile_column, 1 tile_row, x'' tile_data FROM n"),
            "interrupted|more than",
        ),
        (
            (
                META,
                f"CREATE VIEW tiles AS {ENDLESS} 3 zoom_level, 1 tile_column, count(*) tile_row, x'' tile_data FROM n",
            ),
            "interrupted",
        ),
        (("CREATE VIEW metadata AS SELECT load_extension('x') name, 1 value",), "not readable"),
    ],
)
def test_databases_that_are_no_mbtiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, statements: tuple[str, ...], match: str
) -> None:
    monkeypatch.setattr("tilefix.mapbuild.tiles._SQL_STEPS", 200)
    monkeypatch.setattr("tilefix.mapbuild.tiles.MAX_TILE_COUNT", 10_000)
    refuse(mbtiles(tmp_path / "in.mbtiles", *statements), tmp_path, match)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_mbtiles_cut_short(tmp_path: Path, share: float) -> None:
    path = write_mbtiles(tmp_path / "in.mbtiles", *PLACE, 18)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    refuse(path, tmp_path, "not readable as MBTiles|damaged|usual size|no tiles")


def test_reading_mbtiles_writes_nothing(tmp_path: Path) -> None:
    path = write_mbtiles(tmp_path / "in.mbtiles", *PLACE, 18)
    before = path.read_bytes()
    source = open_imagery(path)
    source.read(0, 0, 768, 768)
    source.close()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["in.mbtiles"]


# --- zoom ------------------------------------------------------------------------------------------------------------


def test_the_finest_zoom_wins_unless_it_lacks_ground(tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    for zoom in (15, 16, 17):
        write_tiles(folder, *PLACE, zoom, flat=False)
    # 3 x 3 tiles at 17 lie within those of 16 and 15, which show far more ground.
    assert open_imagery(folder).width_px == 768
    assert getattr(open_imagery(folder), "zoom") == 15  # noqa: B009
    assert getattr(open_imagery(folder, zoom=17), "zoom") == 17  # noqa: B009
    with pytest.raises(MapError, match=r"no tiles of zoom 12 *\(choose --zoom from 15, 16, 17"):
        open_imagery(folder, zoom=12)


def test_a_pyramid_gives_its_base(tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    folder.mkdir()
    base = list(tile_block(*PLACE, 18))
    picture = GOOD["jpg"]
    for shift in (0, 1, 2, 8):
        for x, y in base:
            (folder / f"{18 - shift}_{x >> shift}_{y >> shift}.png").write_bytes(picture)
    assert getattr(open_imagery(folder), "zoom") == 18  # noqa: B009
