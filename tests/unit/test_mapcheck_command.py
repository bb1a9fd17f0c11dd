"""`tilefix map check` with a height and a mission, from end to end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import tilefix.embedders
from support.embedders import ThumbnailEmbedder
from support.patchwork import patchwork_map
from tilefix.cli import main
from tilefix.geodesy import Grid
from tilefix.mapcheck import survey
from tilefix.mapcheck.legs import Sample, State
from tilefix.mapcheck.page import _window
from tilefix.maps.package import MapPackage


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    return patchwork_map(tmp_path_factory.mktemp("maps") / "<map>", ThumbnailEmbedder(), date="2015-07")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tilefix.embedders, "open_embedder", lambda model=None: ThumbnailEmbedder())
    monkeypatch.setattr(survey.survey, "__kwdefaults__", {"max_places": 36, "progress": None})


def mission(package: MapPackage, folder: Path, *places: tuple[float, float, float]) -> Path:
    lines = ["QGC WPL 110"]
    for k, (east_m, north_m, agl_m) in enumerate(places):
        lat_deg, lon_deg = package.frame.to_geodetic(east_m, north_m)
        lines.append(f"{k}\t0\t3\t16\t0\t0\t0\t0\t{lat_deg!r}\t{lon_deg!r}\t{agl_m}\t1")
    path = folder / "m.waypoints"
    path.write_text("\n".join(lines))
    return path


def check(package: MapPackage, *more: str) -> int:
    return main(["map", "check", str(package.path), *more])


def test_without_a_height_nothing_is_drawn(package: MapPackage, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(package) == 0
    said = capsys.readouterr().out
    assert "whole" in said
    assert "Warning: map imagery is" in said
    assert "years old, over 3" in said
    assert "check.html" not in said
    assert check(package, "--max-age-years", "100") == 0
    assert "Warning" not in capsys.readouterr().out


def test_the_page_and_the_figures(package: MapPackage, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert check(package, "--agl-m", "70", "--hfov-deg", "60", "--out", str(out)) == 0
    assert "% of the area is hard" in capsys.readouterr().out
    assert sorted(path.name for path in out.iterdir()) == ["check.html", "check.json"]
    found = json.loads((out / "check.json").read_text())["survey"]
    assert len(found["match"]) * len(found["match"][0]) <= 36
    assert found["match"][-1][-1] is None
    page = (out / "check.html").read_text()
    assert "&lt;map&gt;" in page
    assert "<map>" not in page
    assert f"{100.0 * found['hard_share']:.1f} %" in page
    assert "data:image/png" in page


@pytest.mark.parametrize(("places", "status"), [
    (((-220.0, 150.0, 70.0), (-80.0, 150.0, 70.0)), 0),
    (((-220.0, 150.0, 70.0), (200.0, -200.0, 70.0)), 1),
])  # fmt: skip
def test_the_status_tells_whether_legs_are_hard(
    package: MapPackage, tmp_path: Path, places: tuple[tuple[float, float, float], ...], status: int
) -> None:
    file, out = mission(package, tmp_path, *places), tmp_path / "out"
    assert check(package, "--hfov-deg", "60", "--mission", str(file), "--speed-mps", "20", "--out", str(out)) == status
    found = json.loads((out / "check.json").read_text())["mission"]
    assert found["hard"] == bool(status)
    assert found["legs"][0]["speed_mps"] == 20.0
    assert (found["legs"][0]["uncovered_m"] > 0.0) == bool(status)
    assert ('<tr class="hard">' in (out / "check.html").read_text()) == bool(status)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--agl-m", "2"), "out of scale"),
        (("--agl-m", "-5"), "--agl-m"),
        (("--agl-m", "nan"), "--agl-m"),
        (("--agl-m", "70", "--hfov-deg", "200"), "--hfov-deg"),
        (("--mission", "absent.plan"), "absent.plan"),
        (("--agl-m", "70", "--config", "absent.toml"), "absent.toml"),
        (("--agl-m", "70", "--config", "a.toml", "--hfov-deg", "70"), "camera of its own"),
    ],
)
def test_bad_input_writes_nothing(
    package: MapPackage, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...], said: str
) -> None:
    assert check(package, *more, "--out", str(tmp_path / "out")) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_drawing_shows_the_way_beyond_the_map_but_never_shrinks_the_map_to_a_dot() -> None:
    grid = Grid(-300.0, 300.0, 0.5, 1200, 1200)

    def sample(east_m: float, north_m: float) -> Sample:
        return Sample(0, east_m, north_m, 70.0, 10.0, State.UNCOVERED, 0.0)

    alone, near, far = (_window(grid, samples) for samples in ((), (sample(450.0, 0.0),), (sample(0.0, 1e6),)))
    assert alone.width_m == pytest.approx(1.2 * alone.height_m)
    assert near.west_m < -300.0 < 450.0 < near.west_m + near.width_m < 500.0
    assert far.north_m == pytest.approx(612.0)
    assert far.height_m < 1000.0


def test_a_configuration_brings_its_camera_its_coasting_and_its_maps_offset(
    package: MapPackage, tmp_path: Path
) -> None:
    config, out = tmp_path / "tilefix.toml", tmp_path / "out"
    config.write_text(
        '[map]\npath = "elsewhere"\noffset_east_m = 1000.0\n[camera]\nsource = "folder:photo"\nwidth = 320\n'
        'height = 240\nhfov_deg = 60\n[link]\nurl = "udpin:127.0.0.1:14550"\n[localizer]\nmax_coast_s = 3.0\n'
    )
    over, beside = ((east_m, 150.0, 70.0) for east_m in (-220.0, 780.0))
    states = []
    for start in (over, beside):
        file = mission(package, tmp_path, start, (start[0] + 140.0, 150.0, 70.0))
        states.append(check(package, "--config", str(config), "--mission", str(file), "--out", str(out)))
    assert states == [1, 0]  # the map lies 1000 m further east than its imagery says
    facts = json.loads((out / "check.json").read_text())["facts"]
    assert facts["camera"].startswith("320 x 240 px, 60.0 degrees")
    assert facts["coasting"] == "3 s"
