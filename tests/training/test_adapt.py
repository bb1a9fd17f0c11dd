"""A model adapted to a generated place out of its map and a flight over it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from support.embedders import ThumbnailEmbedder
from support.flights import picture_flight
from tilefix.camera import CameraModel, Mount
from tilefix.embedders import open_embedder
from tilefix.errors import ConfigError, FlightError, MapError, ModelError, TilefixError
from tilefix.flights.log import TRUTH_COLUMNS
from tilefix.localization.rectify import Rectifier
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.simulation.flights import FlightPlan, fly_over
from tilefix.simulation.sight import Scenery
from tilefix.simulation.world import drone_look, generate_world, satellite_look
from tilefix_training import adapt as adapting
from tilefix_training.adapt import adapt
from tilefix_training.cli import main
from tilefix_training.config import FitConfig, load_config
from tilefix_training.network.backbone import Backbone, BackboneConfig
from tilefix_training.network.build import config_to_json
from tilefix_training.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

SHAPE = BackboneConfig(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32))
QUICK = {
    "run.epochs": 2,
    "optimiser.iterations": 2,
    "optimiser.clusters_per_batch": 4,
    "optimiser.bfloat16": False,
    "drone.labels": "instance",
}
Fit = Callable[..., Path]


@dataclass(frozen=True)
class Place:
    area: Path
    flight: Path
    model: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = tmp_path_factory.mktemp("place")
    world = generate_world(1900, size_m=300.0, gsd_m=0.5)
    cover = np.full(world.ground.shape, 255, np.uint8)
    imagery = ArrayImagery(world.frame, world.grid, world.render(satellite_look(1)), cover, "made up", "2024", "none")
    build_package(imagery, root / "map", embedder=ThumbnailEmbedder(), patch_m=60.0, stride_m=60.0)
    plan = FlightPlan(
        agl_m=90.0, speed_mps=5.0, rate_hz=0.7, duration_s=30.0, seed=3, camera=CameraModel.from_hfov(128, 96, 60.0)
    )
    fly_over(Scenery(world.render(drone_look(1)), world.grid), world.frame, plan, root / "flight")
    return Place(root / "map", root / "flight", _model(root, 20.0))


def _model(folder: Path, patch_m_min: float) -> Path:
    torch.manual_seed(1)
    run = {
        "run": {"name": "small", "trained_on": ["nothing"]},
        "patches": {"patch_px": 32, "patch_m_min": patch_m_min, "patch_m_max": 200.0},
        "backbone": config_to_json(SHAPE),
    }
    tensors = {f"network.{name}": value for name, value in Backbone(SHAPE).state_dict().items()}
    path = folder / f"small{patch_m_min:g}.safetensors"
    save_checkpoint(Checkpoint(tensors, run, 1), path)
    return path


def _sets(changes: dict[str, object]) -> list[str]:
    return [word for name, value in changes.items() for word in ("--set", f"{name}={json.dumps(value)}")]


def test_from_map_and_footage_to_a_model_that_opens(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "o" / "adapted"
    words = ["adapt", "--map", str(place.area), "--footage", f"{place.flight}:0:15", "--out", str(out)]
    words += ["--model", str(place.model), "--score", str(place.flight), "--frames", "16:20", "--stride-m", "30"]
    words += _sets(QUICK)
    assert main(words) == 0
    table = capsys.readouterr().out
    assert "5 frames of flight" in table
    exported = out / "small-adapted.onnx"
    assert f"model: {exported}" in table
    manifest = open_embedder(exported).manifest
    assert (manifest.patch_px, manifest.patch_m_min, manifest.patch_m_max) == (32, 20.0, 200.0)
    assert manifest.trained_on[-2:] == ("map made up", "footage flight")
    figures = json.loads((out / "adapt.json").read_text())
    assert list(figures) == ["before", "after", "thumbnail"]
    for name, score in figures.items():
        assert score["queries"] == 5
        assert f"{score['median_error_m']:.1f}" in next(line for line in table.splitlines() if line.startswith(name))
    config = load_config(out / "adapt.toml", QUICK)
    assert {(source.first, source.last) for source in config.drone.sources} == {(0, 15)}  # type: ignore[union-attr]

    assert main(words) == 2
    assert "holds an adaptation already" in capsys.readouterr().err
    (out / "adapt.json").unlink()
    assert main([*words, "--resume"]) == 0
    assert json.loads((out / "adapt.json").read_text()) == figures
    other = [word.replace(":0:15", ":0:14") for word in words]
    assert main([*other, "--resume"]) == 2
    assert "was started with other arguments" in capsys.readouterr().err


def test_a_run_cut_short_goes_on_and_positions_of_footage_are_not_read(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapting, "export_checkpoint", lambda checkpoint, path, out: path)
    bare = tmp_path / "flight"
    shutil.copytree(place.flight, bare)
    lines = [line.split(",") for line in (bare / "log.csv").read_text().splitlines()]
    positions = [lines[0].index(name) for name in TRUTH_COLUMNS]
    lines = [[cell for column, cell in enumerate(line) if column not in positions] for line in lines]
    (bare / "log.csv").write_text("".join(",".join(line) + "\n" for line in lines))
    whole = adapt(place.area, [place.flight], tmp_path / "whole", model=str(place.model), changes=QUICK)
    assert "positions were not given" in whole

    def cut_short(config: FitConfig, *, resume: bool) -> Path:
        def stop(epoch: int, network: object, row: object) -> None:
            raise KeyboardInterrupt

        return fit(config, resume=resume, after_epoch=stop)

    fit: Fit = adapting.fit
    monkeypatch.setattr(adapting, "fit", cut_short)
    with pytest.raises(KeyboardInterrupt):
        adapt(place.area, [bare], tmp_path / "cut", model=str(place.model), changes=QUICK)
    monkeypatch.setattr(adapting, "fit", fit)
    resumed = adapt(place.area, [bare], tmp_path / "cut", model=str(place.model), changes=QUICK, resume=True)
    assert resumed.splitlines()[:3] == whole.splitlines()[:3]
    one, other = (load_checkpoint(tmp_path / name / "run" / "last.safetensors") for name in ("whole", "cut"))
    assert one.epoch == other.epoch == 2
    start = load_checkpoint(place.model)
    for name, value in one.group("network").items():
        torch.testing.assert_close(value, other.group("network")[name], rtol=0, atol=0)
    assert any(not torch.equal(value, start.group("network")[name]) for name, value in one.group("network").items())


def test_what_does_not_fit_is_refused_before_anything_is_trained(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapting, "fit", lambda *args, **kwargs: pytest.fail("trained"))
    out, model = tmp_path / "out", str(place.model)

    def refused(kind: type[TilefixError], words: str, *, area: Path = place.area, **changes: object) -> None:
        footage = changes.pop("footage", [place.flight])
        with pytest.raises(kind, match=words):
            adapt(area, footage, changes.pop("out", out), **{"model": model, "changes": QUICK} | changes)  # type: ignore[arg-type]

    refused(ConfigError, "no footage", footage=[])
    refused(FlightError, "none: cannot be read", footage=[tmp_path / "none"])
    refused(ConfigError, "no frame from 90 to 99 can be laid flat", footage=[Path(f"{place.flight}:90:99")])
    refused(ConfigError, "goes backwards", footage=[Path(f"{place.flight}:9:3")])
    refused(MapError, "none", area=tmp_path / "none")
    refused(ModelError, "none.json: cannot read the model manifest", model=str(tmp_path / "none.onnx"))
    refused(ModelError, "60", model=str(_model(tmp_path, 80.0)))
    low = picture_flight(tmp_path / "low", "".join(f"f{k}.png,{k},20,0,0,0,,\n" for k in range(3)))
    refused(ConfigError, "frames hold squares of 16 m, the model takes at least 20 m", footage=[low])
    refused(ConfigError, "--frames and --stride-m need --score", frames="1:2")
    refused(ConfigError, "holds nothing to go on with", resume=True)
    nothing = picture_flight(tmp_path / "flat", "".join(f"f{k}.png,{k},,,,,,\n" for k in range(3)))
    refused(ConfigError, "no frame from 0 to the end can be laid flat", footage=[nothing])
    assert not out.exists()
    refused(ConfigError, "the footage gives .* patches of ground, at least 40", footage=[Path(f"{place.flight}:0:1")])
    (tmp_path / "file").write_text("")
    refused(ConfigError, "cannot be written", out=tmp_path / "file")
    monkeypatch.setattr(adapting.shutil, "disk_usage", lambda path: SimpleNamespace(free=5 << 20))
    refused(ConfigError, "5 MiB free", out=tmp_path / "full")


def test_footage_without_two_places_says_so(place: Place, tmp_path: Path) -> None:
    apart = QUICK | {"drone.labels": "cluster", "drone.eps": 0.01, "cluster.min_samples": 1000}
    with pytest.raises(ConfigError, match="give more footage"):
        adapt(place.area, [place.flight], tmp_path / "out", model=str(place.model), changes=apart)


@pytest.mark.parametrize(("yaw_deg", "side"), [(0.0, 60.0), (90.0, 60.0), (45.0, 60.0 / math.sqrt(2.0))])
def test_the_largest_square_in_a_frame(yaw_deg: float, side: float) -> None:
    """A frame of 80 x 60 m: its height where it lies north up; turned by t, 60 / (sin t + cos t)."""
    camera = CameraModel.from_hfov(800, 600, math.degrees(2 * math.atan(0.4)))
    view = Rectifier(camera, Mount()).view(0.0, 0.0, yaw_deg, 100.0)
    assert view is not None
    assert adapting._square_m(view) == pytest.approx(side, rel=1e-6)
