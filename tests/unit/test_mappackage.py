from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.rasters import munich_grid, textured
from tilefix.errors import MapError, ModelError
from tilefix.geodesy import Grid
from tilefix.manifest import sha256_of
from tilefix.mapbuild.package import ArrayImagery, ArrayTerrain, build_package
from tilefix.maps.manifest import DATA_FILES, load_map_manifest, sealed
from tilefix.maps.package import MapPackage
from tilefix.maps.terrain import Terrain

EMBEDDER = ThumbnailEmbedder(patch_px=32, side=6)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    frame, grid = munich_grid(120, 160)
    coverage = np.full((120, 160), 255, np.uint8)
    coverage[:, :40] = 0
    imagery = ArrayImagery(frame, grid, textured(120, 160), coverage, "test", "2026-01-01", "CC0")
    build_package(imagery, tmp_path / "map", embedder=EMBEDDER, patch_m=20.0, stride_m=10.0)
    return tmp_path / "map"


def edit(package: Path, **changes: object) -> None:
    path = package / "manifest.json"
    raw = json.loads(path.read_text())
    for key, value in changes.items():
        *parents, last = key.split("__")
        target = raw
        for parent in parents:
            target = target[parent]
        target[last] = value
    path.write_text(sealed(raw))


def seal(package: Path, name: str) -> None:
    """Makes the manifest agree with a changed file, as an attacker would."""
    raw = json.loads((package / "manifest.json").read_text())
    raw["files"][name] = {"sha256": sha256_of(package / name), "bytes": (package / name).stat().st_size}
    (package / "manifest.json").write_text(sealed(raw))


def test_an_opened_package_says_what_was_built(package: Path) -> None:
    opened = MapPackage.open(package, model=EMBEDDER.manifest)
    frame, grid = munich_grid(120, 160)
    assert (opened.frame, opened.grid) == (frame, grid)
    assert opened.imagery.shape == (120, 160, 3)
    assert isinstance(opened.imagery, np.memmap)
    np.testing.assert_array_equal(opened.imagery[:, 40:], textured(120, 160)[:, 40:])
    assert not opened.imagery[:, :40].any()
    assert opened.coverage[:, :40].max() == 0
    assert opened.coverage[:, 40:].min() == 255
    assert opened.tile_centres_m.shape == (opened.manifest.tiles, 2)
    assert opened.manifest.imagery.licence == "CC0"


def test_a_map_can_be_moved_as_a_whole(package: Path) -> None:
    plain = MapPackage.open(package)
    moved = plain.moved(3.5, -2.0)
    assert moved.grid.to_local(10.0, 20.0) == pytest.approx(np.add(plain.grid.to_local(10.0, 20.0), (3.5, -2.0)))
    assert np.allclose(moved.tile_centres_m - plain.tile_centres_m, (3.5, -2.0), atol=1e-4)
    assert (moved.grid.gsd_m, moved.imagery.shape) == (plain.grid.gsd_m, plain.imagery.shape)
    assert plain.moved(0.0, 0.0) is plain


def test_arrays_are_read_only(package: Path) -> None:
    opened = MapPackage.open(package)
    for array in (opened.imagery, opened.coverage, opened.tile_centres_m):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize("name", DATA_FILES)
def test_one_changed_byte_is_refused(package: Path, name: str) -> None:
    data = bytearray((package / name).read_bytes())
    data[-3] ^= 1
    (package / name).write_bytes(data)
    with pytest.raises(MapError, match=f"{name}.*checksum"):
        MapPackage.open(package)


def test_every_byte_of_the_manifest_counts(package: Path) -> None:
    path = package / "manifest.json"
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(MapError, match=r"manifest\.json"):
            load_map_manifest(path)
    path.write_bytes(whole)
    assert load_map_manifest(path).frame.lat_deg == 48.14


@pytest.mark.parametrize("name", DATA_FILES)
def test_a_missing_file_is_named(package: Path, name: str) -> None:
    (package / name).unlink()
    with pytest.raises(MapError, match=f"{name}.*missing"):
        MapPackage.open(package, verify=False)


@pytest.mark.parametrize("name", DATA_FILES)
def test_a_file_cut_short_is_refused_without_checksums_too(package: Path, name: str) -> None:
    data = (package / name).read_bytes()
    (package / name).write_bytes(data[:-7])
    with pytest.raises(MapError, match="bytes, manifest says"):
        MapPackage.open(package, verify=False)
    seal(package, name)
    with pytest.raises(MapError):
        MapPackage.open(package)


@pytest.mark.parametrize("name", [*DATA_FILES, "manifest.json"])
def test_links_are_not_followed(package: Path, name: str, tmp_path: Path) -> None:
    (package / name).rename(tmp_path / "elsewhere")
    (package / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MapError):
        MapPackage.open(package)


def test_no_package_at_all(tmp_path: Path) -> None:
    with pytest.raises(MapError, match="no map manifest here"):
        MapPackage.open(tmp_path)


def test_a_newer_format_says_so(package: Path) -> None:
    edit(package, format_version=3, something_new=1)
    with pytest.raises(MapError, match=r"format version 3.*update tilefix"):
        MapPackage.open(package)


TERRAIN_GRID = Grid(-45.0, 35.0, 5.0, 18, 14)


@pytest.fixture
def hilly(tmp_path: Path) -> Path:
    frame, grid = munich_grid(120, 160)
    imagery = ArrayImagery(frame, grid, textured(120, 160), np.full((120, 160), 255, np.uint8), "test", "", "")
    heights = np.linspace(480.0, 520.0, 18 * 14, dtype=np.float32).reshape(14, 18)
    heights[0, 0] = np.nan
    terrain = ArrayTerrain(Terrain(TERRAIN_GRID, heights), "dem.tif", "EGM96 height")
    build_package(imagery, tmp_path / "hilly", embedder=EMBEDDER, patch_m=20.0, stride_m=10.0, terrain=terrain)
    return tmp_path / "hilly"


def test_a_package_with_terrain_says_what_was_built(hilly: Path) -> None:
    opened = MapPackage.open(hilly)
    assert opened.terrain is not None
    assert opened.terrain.grid == TERRAIN_GRID
    assert isinstance(opened.terrain.height_m, np.memmap)
    assert not opened.terrain.height_m.flags.writeable
    assert np.isnan(opened.terrain.height_m[0, 0])
    assert float(opened.terrain.height_m[13, 17]) == 520.0
    assert opened.manifest.height is not None
    assert (opened.manifest.height.source, opened.manifest.height.datum) == ("dem.tif", "EGM96 height")


def test_terrain_is_format_2_and_a_package_without_is_still_format_1(package: Path, hilly: Path) -> None:
    assert json.loads((package / "manifest.json").read_text())["format_version"] == 1
    assert json.loads((hilly / "manifest.json").read_text())["format_version"] == 2
    assert MapPackage.open(package).terrain is None
    edit(package, format_version=2)
    with pytest.raises(MapError, match="lacks height"):
        MapPackage.open(package)
    edit(hilly, format_version=1)
    with pytest.raises(MapError, match="unknown 'height'"):
        MapPackage.open(hilly)


@pytest.mark.parametrize("height_m", [np.inf, -np.inf, 9001.0, -501.0, 1e30])
def test_an_absurd_height_is_refused(hilly: Path, height_m: float) -> None:
    heights = np.load(hilly / "height.npy")
    heights[7, 3] = height_m
    np.save(hilly / "height.npy", heights)
    seal(hilly, "height.npy")
    with pytest.raises(MapError, match=r"height\.npy.*terrain has a height"):
        MapPackage.open(hilly, verify=False)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"height__grid__width_px": 19}, r"manifest says <f4 \(14, 19\)"),
        ({"height__grid__width_px": 14, "height__grid__height_px": 18}, "does not reach over"),
        ({"height__grid__west_m": 400.0}, "does not reach over"),
        ({"height__grid__gsd_m": 0.0}, "gsd_m must be"),
        ({"height__grid__gsd_m": 0.01, "height__grid__width_px": 9000, "height__grid__height_px": 9000}, "25000000"),
        ({"height": None}, "height must be an object"),
        ({"height__more": 1}, "unknown 'more'"),
        ({"height__datum": 96}, "datum must be text"),
    ],
)
def test_terrain_that_contradicts_itself(hilly: Path, changes: dict[str, object], match: str) -> None:
    edit(hilly, **changes)
    with pytest.raises(MapError, match=match):
        MapPackage.open(hilly)


@pytest.mark.parametrize(
    "heights", [np.zeros((14, 18)), np.zeros((18, 14), np.float32), np.zeros((14, 18, 1), np.float32), np.zeros(0)]
)
def test_another_array_as_terrain(hilly: Path, heights: np.ndarray) -> None:
    np.save(hilly / "height.npy", heights)
    seal(hilly, "height.npy")
    with pytest.raises(MapError, match=r"height\.npy"):
        MapPackage.open(hilly)


def test_missing_and_damaged_terrain_is_refused(hilly: Path) -> None:
    data = bytearray((hilly / "height.npy").read_bytes())
    data[-1] ^= 1
    (hilly / "height.npy").write_bytes(data)
    with pytest.raises(MapError, match="checksum"):
        MapPackage.open(hilly)
    (hilly / "height.npy").unlink()
    with pytest.raises(MapError, match=r"height\.npy.*missing"):
        MapPackage.open(hilly)


@pytest.mark.parametrize(
    "changes",
    [
        {"format_version": 0},
        {"format_version": True},
        {"extra": 1},
        {"metric": "l2"},
        {"patch_m": 0},
        {"patch_m": "20"},
        {"patch_m": True},
        {"stride_m": -1.0},
        {"stride_m": float("nan")},
        {"tiles": 0},
        {"tiles": 10**12},
        {"tiles": 3.5},
        {"descriptor_dim": 10**9},
        {"created": 5},
        {"frame": None},
        {"frame__lat_deg": 89.0},
        {"frame__lon_deg": float("inf")},
        {"grid": []},
        {"grid__gsd_m": 0.0},
        {"grid__width_px": 10**9},
        {"grid__west_m": 1e300},
        {"grid__extra": 1},
        {"model__sha256": "../../x"},
        {"model__name": 7},
        {"model__descriptors_of": None},
        {"model__descriptors_of": "0" * 63},
        {"imagery__source": None},
        {"files__imagery.npy": {"sha256": "0" * 64}},
        {"files": {"../../etc/passwd": {"sha256": "0" * 64, "bytes": 1}}},
        {"files__imagery.npy__bytes": -1},
    ],
)
def test_a_wrong_manifest_is_refused(package: Path, changes: dict[str, object]) -> None:
    edit(package, **changes)
    with pytest.raises(MapError, match=r"manifest\.json"):
        MapPackage.open(package)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b"null", b" " * (1 << 20) + b"{}"])
def test_a_manifest_that_is_none(package: Path, text: bytes) -> None:
    (package / "manifest.json").write_bytes(text)
    with pytest.raises(MapError, match=r"manifest\.json"):
        MapPackage.open(package)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"grid__width_px": 161}, "manifest says .u1"),
        ({"grid__width_px": 120, "grid__height_px": 160}, "manifest says .u1"),
        ({"tiles": 10}, "manifest says <f4"),
        ({"descriptor_dim": 35}, "tile index holds"),
        ({"grid__west_m": 4000.0}, "outside the map"),
    ],
)
def test_shapes_that_contradict_the_manifest(package: Path, changes: dict[str, object], match: str) -> None:
    edit(package, **changes)
    with pytest.raises(MapError, match=match):
        MapPackage.open(package)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((120, 160, 3), np.int8),
        np.zeros((120, 160, 4), np.uint8),
        np.zeros((3, 160, 120), np.uint8).T,
        np.array([{"a": 1}], dtype=object),
    ],
)
def test_another_array_as_imagery(package: Path, array: np.ndarray) -> None:
    np.save(package / "imagery.npy", array, allow_pickle=True)
    seal(package, "imagery.npy")
    with pytest.raises(MapError, match=r"imagery\.npy"):
        MapPackage.open(package)


@pytest.mark.parametrize("header", [b"(9000000,9**9", b"(999999,9999)", b"(120, 160, 4)", b"(120, 160,3) "])
def test_an_array_header_that_claims_something_else(package: Path, header: bytes) -> None:
    path = package / "imagery.npy"
    data = path.read_bytes().replace(b"(120, 160, 3)", header)
    path.write_bytes(data)
    seal(package, "imagery.npy")
    with pytest.raises(MapError, match=r"imagery\.npy"):
        MapPackage.open(package)


def test_centres_that_are_not_finite(package: Path) -> None:
    centres = np.load(package / "tiles.npy")
    centres[3, 1] = np.nan
    np.save(package / "tiles.npy", centres)
    seal(package, "tiles.npy")
    with pytest.raises(MapError, match="not finite"):
        MapPackage.open(package)


@pytest.mark.parametrize(
    ("offset", "value", "match"),
    [
        (0, b"IxF2", "not a flat inner-product"),
        (0, b"IwFl", "not a flat inner-product"),
        (4, struct.pack("<i", 2**30), "tile index holds"),
        (8, struct.pack("<q", 2**60), "tile index holds"),
        (33, struct.pack("<i", 1), "not a flat inner-product"),
        (37, struct.pack("<Q", 2**62), "tile index holds"),
    ],
)
def test_an_index_of_another_kind_or_size_never_reaches_faiss(
    package: Path, offset: int, value: bytes, match: str
) -> None:
    path = package / "tiles.faiss"
    data = bytearray(path.read_bytes())
    data[offset : offset + len(value)] = value
    path.write_bytes(data)
    seal(package, "tiles.faiss")
    with pytest.raises(MapError, match=match):
        MapPackage.open(package)


@pytest.mark.parametrize(
    ("model", "match"),
    [
        (replace(EMBEDDER.manifest, sha256="0" * 64, name="other"), "was built with model thumbnail-32-6"),
        (replace(EMBEDDER.manifest, descriptor_dim=64), "36 numbers"),
        (replace(EMBEDDER.manifest, patch_m_min=30.0), "trained on patches of 30"),
    ],
)
def test_another_model_is_refused(package: Path, model: object, match: str) -> None:
    with pytest.raises(ModelError, match=match):
        MapPackage.open(package, model=model)  # type: ignore[arg-type]


def test_models_of_one_identity_search_each_others_maps(package: Path, tmp_path: Path) -> None:
    plain = EMBEDDER.manifest
    quantized = replace(plain, sha256="1" * 64, descriptors_of=plain.sha256)
    engine = replace(plain, sha256="2" * 64, descriptors_of=plain.sha256)
    opened = MapPackage.open(package, model=quantized)
    assert "descriptors_of" not in (package / "manifest.json").read_text()
    edit(package, model={"name": "int8", "sha256": quantized.sha256, "descriptors_of": plain.sha256})
    for model in (plain, quantized, engine):
        assert MapPackage.open(package, model=model).manifest.model.identity == opened.manifest.model.identity
    with pytest.raises(ModelError, match="was built with model int8"):
        MapPackage.open(package, model=replace(plain, sha256=quantized.sha256))
