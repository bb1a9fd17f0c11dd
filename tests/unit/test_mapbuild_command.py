"""`tilefix map` from end to end, with a small embedder in place of the shipped model."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import tilefix.embedders
from support.embedders import ThumbnailEmbedder
from support.rasters import textured, write_geotiff
from tilefix.cli import main
from tilefix.errors import MapError, ModelError
from tilefix.geodesy import Grid
from tilefix.manifest import ModelManifest
from tilefix.mapbuild.build import BuildOptions, build_map, default_gsd_m, default_patch_m
from tilefix.mapbuild.inspect import check_map, info_json, info_text, printable
from tilefix.mapbuild.package import new_package_folder
from tilefix.mapbuild.sources import parse_bbox
from tilefix.maps.package import MapPackage

pytest.importorskip("rasterio")
EMBEDDER = ThumbnailEmbedder(patch_px=32, side=6)


@pytest.fixture(autouse=True)
def small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tilefix.embedders, "open_embedder", lambda model=None: ThumbnailEmbedder(patch_px=32, side=6))


@pytest.fixture
def geotiff(tmp_path: Path) -> Path:
    bands = np.moveaxis(textured(160, 200), 2, 0)
    return write_geotiff(tmp_path / "in.tif", bands, tags={"TIFFTAG_COPYRIGHT": "CC0"})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def build(geotiff: Path, out: Path, *more: str) -> int:
    return main(["map", "build", "--imagery", str(geotiff), "--out", str(out), *more])


def test_build_info_check(geotiff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "map"
    assert build(geotiff, out) == 0
    said = capsys.readouterr()
    assert "resampling imagery: 100 %" in said.err
    assert "embedding tiles: 100 %" in said.err
    assert "at 0.5 m/px" in said.out
    package = MapPackage.open(out, model=EMBEDDER.manifest)
    # Defaults: the imagery's sampling, a patch of a quarter of the 84 m that it is high, a quarter of that.
    assert package.grid.gsd_m == 0.5
    assert package.manifest.patch_m == pytest.approx(21.0)
    assert package.manifest.stride_m == package.manifest.patch_m / 4.0
    assert main(["map", "info", str(out)]) == 0
    assert "CC0" in capsys.readouterr().out
    assert main(["map", "info", str(out), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["tiles"] == package.manifest.tiles
    assert info["coverage_share"] == pytest.approx(0.95, abs=0.05)
    corner = package.frame.to_geodetic(package.grid.west_m, package.grid.north_m)
    assert (info["corners"]["north_west"]["lat_deg"], info["corners"]["north_west"]["lon_deg"]) == corner
    assert main(["map", "check", str(out)]) == 0
    assert "whole" in capsys.readouterr().out


def test_equal_input_gives_equal_bytes(
    geotiff: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert build(geotiff, tmp_path / "a") == build(geotiff, tmp_path / "b") == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert build(geotiff, tmp_path / "c") == 0
    assert MapPackage.open(tmp_path / "c").manifest.created == "2023-11-14T22:13:20+00:00"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "tomorrow")
    assert build(geotiff, tmp_path / "d") == 2


def test_what_a_person_chooses(geotiff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = MapPackage.open(tmp_path / "map") if build(geotiff, tmp_path / "map") == 0 else None
    assert whole is not None
    south, west = whole.frame.to_geodetic(-20.0, -15.0)
    north, east = whole.frame.to_geodetic(20.0, 15.0)
    more = ["--gsd-m", "1", "--patch-m", "20", "--stride-m", "2", "--source", "s", "--date", "d", "--license", "l"]
    assert build(geotiff, tmp_path / "part", *more, f"--bbox={west},{south},{east},{north}", "--bands", "2") == 0
    part = MapPackage.open(tmp_path / "part")
    assert (part.grid.gsd_m, part.manifest.patch_m, part.manifest.stride_m) == (1.0, 20.0, 2.0)
    assert part.grid.width_px * part.grid.gsd_m == pytest.approx(40.0, abs=2.0)
    assert part.grid.height_px * part.grid.gsd_m == pytest.approx(30.0, abs=2.0)
    assert (part.manifest.imagery.source, part.manifest.imagery.date, part.manifest.imagery.licence) == ("s", "d", "l")
    assert (part.imagery[..., 0] == part.imagery[..., 2]).all()


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (["--patch-m", "5"], "trained on patches of 10 to 4000 m"),
        (["--patch-m", "nan"], "trained on patches"),
        (["--stride-m", "-1"], "leaves gaps"),
        (["--stride-m", "22"], "leaves gaps"),
        (["--gsd-m", "0"], "no sampling"),
        (["--gsd-m", "nan"], "no sampling"),
        (["--gsd-m", "200", "--patch-m", "200", "--stride-m", "200"], "times coarser than the imagery"),
        (["--gsd-m", "0.0001"], "no sampling"),
        (["--patch-m", "1000"], "no place has imagery"),
        (["--bbox", "1,2,3"], "four numbers"),
        (["--bbox", "12,48,11,49"], "not a box"),
        (["--bbox=-170,10,-169,11"], "no imagery within"),
        (["--bands", "1;2"], "no band numbers"),
        (["--bands", "1,2,9"], "bands 1,2,9"),
        (["--imagery", "/nowhere.tif"], "No such file"),
        (["--out", "/proc/map"], "cannot write"),
        (["--out", "/"], "--out"),
    ],
)
def test_wishes_that_are_refused(
    geotiff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], match: str
) -> None:
    assert build(geotiff, tmp_path / "maps" / "map", *more) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("tilefix: ")
    assert match in said
    assert not list(tmp_path.glob("maps/*"))


def test_a_disk_too_small(geotiff: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(MapError, match="GB are free"):
        build_map(geotiff, tmp_path / "maps" / "map", embedder=EMBEDDER)
    assert list((tmp_path / "maps").iterdir()) == []


def test_a_write_that_fails(tmp_path: Path) -> None:
    def half_a_package() -> None:
        with new_package_folder(tmp_path / "map") as folder:
            (folder / "imagery.npy").write_bytes(b"half")
            raise OSError(28, "No space left on device")

    with pytest.raises(MapError, match="No space left"):
        half_a_package()
    assert list(tmp_path.iterdir()) == []


def test_defaults_follow_imagery_and_model() -> None:
    model = EMBEDDER.manifest  # 32 px, 10 to 4000 m
    assert default_gsd_m(0.49998, model) == 0.5
    assert default_gsd_m(5.0019, model) == 5.0
    assert default_gsd_m(0.01, model) == pytest.approx(0.5 * 10.0 / 32, rel=0.01)
    assert default_patch_m(Grid(0.0, 0.0, 0.5, 4000, 4000), model) == 120.0
    assert default_patch_m(Grid(0.0, 0.0, 5.0, 800, 900), model) == 160.0
    assert default_patch_m(Grid(0.0, 0.0, 500.0, 99, 99), model) == 4000.0
    assert default_patch_m(Grid(0.0, 0.0, 0.5, 400, 4000), model) == 50.0
    assert default_patch_m(Grid(0.0, 0.0, 0.1, 300, 300), model) == 10.0


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "0,0,0,0", "5,0,1,1", "nan,0,1,1", "0,-90,1,90"])
def test_boxes_that_are_none(text: str) -> None:
    with pytest.raises(MapError, match="--bbox"):
        parse_bbox(text)


def test_a_package_that_shows_something_else_fails_the_check(geotiff: Path, tmp_path: Path) -> None:
    out = tmp_path / "map"
    build_map(geotiff, out, embedder=EMBEDDER, options=BuildOptions(patch_m=20.0))
    assert check_map(out, EMBEDDER).agreement > 0.9999
    with pytest.raises(ModelError, match="was built with model"):
        check_map(out, ThumbnailEmbedder(patch_px=64, side=6))
    (out / "extra\x1b[31m").write_text("")
    with pytest.raises(MapError, match=r"unknown file extra\?\[31m"):
        check_map(out, EMBEDDER)


class OtherPreprocessing(ThumbnailEmbedder):
    def embed(self, patches: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        return super().embed(np.ascontiguousarray(patches[:, ::-1]), masks)


def test_the_check_finds_another_preprocessing(geotiff: Path, tmp_path: Path) -> None:
    build_map(geotiff, tmp_path / "map", embedder=EMBEDDER)
    with pytest.raises(MapError, match="does not show what its descriptor says"):
        check_map(tmp_path / "map", OtherPreprocessing(patch_px=32, side=6))


class Rounded(ThumbnailEmbedder):
    """Another form of the same model: its descriptors rounded to a few steps."""

    @property
    def manifest(self) -> ModelManifest:
        plain = super().manifest
        return replace(plain, sha256="1" * 64, descriptors_of=plain.sha256)

    def embed(self, patches: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        coarse = np.rint(12.0 * super().embed(patches, masks)) / 12.0
        return np.asarray(coarse / np.linalg.norm(coarse, axis=1, keepdims=True), np.float32)


def test_another_form_of_the_model_may_round(geotiff: Path, tmp_path: Path) -> None:
    build_map(geotiff, tmp_path / "map", embedder=EMBEDDER)
    assert 0.92 < check_map(tmp_path / "map", Rounded(patch_px=32, side=6)).agreement < 0.995


class LongDescriptors(ThumbnailEmbedder):
    def embed(self, patches: np.ndarray, masks: np.ndarray | None = None) -> np.ndarray:
        return 2.0 * super().embed(patches, masks)


def test_the_check_finds_descriptors_of_another_length(geotiff: Path, tmp_path: Path) -> None:
    build_map(geotiff, tmp_path / "map", embedder=LongDescriptors(patch_px=32, side=6))
    with pytest.raises(MapError, match="not length 1"):
        check_map(tmp_path / "map", EMBEDDER)


def test_text_from_outside_steers_no_terminal(geotiff: Path, tmp_path: Path) -> None:
    options = BuildOptions(source="\x1b]0;owned\x07", licence="a\nmodel    other")
    package = build_map(geotiff, tmp_path / "map", embedder=EMBEDDER, options=options)
    lines = info_text(package).splitlines()
    assert len(lines) == 12
    assert "\x1b" not in info_text(package) + info_json(package)
    assert printable("km² ä\u202e\r") == "km² ä??"


def test_progress_on_a_terminal_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tilefix.mapbuild.command import ProgressLine

    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    line = ProgressLine()
    for done in (0.0, 0.001, 0.5, 1.0):
        line("one", done)
    line("two", 0.0)
    line.end()
    assert capsys.readouterr().err == "\rone: 0 %\rone: 50 %\rone: 100 %\n\rtwo: 0 %\n"
