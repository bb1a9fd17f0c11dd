"""The evaluate command on each of its three kinds of test, as a person runs it."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from support.embedders import ThumbnailEmbedder
from support.scenes import flight_over, small_map
from tilefix.errors import TilefixError
from tilefix_training.evaluation import command
from tilefix_training.evaluation.models import open_model, untrained
from tilefix_training.network.backbone import Backbone, BackboneConfig
from tilefix_training.network.build import config_to_json
from tilefix_training.network.checkpoint import Checkpoint, save_checkpoint

SHAPE = BackboneConfig((1, 1, 1, 1), (8, 16, 24, 32), 2)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(3)
    network = Backbone(SHAPE)
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    patches = {"patch_px": 32, "patch_m_min": 20.0, "patch_m_max": 90.0}
    path = tmp_path_factory.mktemp("run") / "last.safetensors"
    run = {"run": {"name": "tiny"}, "patches": patches, "backbone": config_to_json(SHAPE)}
    save_checkpoint(Checkpoint(tensors, run, 1), path)
    return path


def evaluate(*words: object) -> int:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


def test_worlds_are_scored_beside_the_baselines(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    words = ["--worlds", "1001:1001", "--patch-m", 80, "--size-m", 320, "--queries", 5, "--out", out]
    assert evaluate("--model", checkpoint, *words) == 0
    text = capsys.readouterr().out
    figures = json.loads(out.read_text())
    assert list(figures) == ["tiny", "untrained", "thumbnail"]
    assert all(name in text for name in figures)
    assert figures["thumbnail"]["queries"] == 5
    assert figures["tiny"]["tiles_per_map"] == 13 * 13
    assert list(tmp_path.iterdir()) == [out]


def test_a_flight_is_scored_on_a_map_of_another_model(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = small_map(tmp_path / "map", ThumbnailEmbedder(patch_px=64))
    flight = flight_over(package, tmp_path / "flight", count=4)
    out = tmp_path / "figures.json"
    words = ["--map", tmp_path / "map", "--flight", flight, "--frames", "1:2", "--stride-m", 16, "--out", out]
    assert evaluate("--model", checkpoint, *words) == 0
    figures = json.loads(out.read_text())
    assert figures["thumbnail"]["queries"] == 2
    assert figures["thumbnail"]["mean_error_m"] < 16.0
    assert "frames 1:2: 2 queries" in capsys.readouterr().out


def test_a_data_set_is_scored_in_both_directions_and_protocols(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    counts = {"query_drone": (2, 3), "gallery_drone": (4, 2), "query_satellite": (2, 1), "gallery_satellite": (4, 1)}
    for name, (places, pictures) in counts.items():
        for place in range(places):
            folder = tmp_path / "data" / "test" / name / f"{place:04d}"
            folder.mkdir(parents=True)
            for picture in range(pictures):
                cv2.imwrite(str(folder / f"{picture}.jpg"), rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    out = tmp_path / "figures.json"
    dataset = f"university-1652:{tmp_path / 'data'}"
    assert evaluate("--model", checkpoint, "--dataset", dataset, "--out", out) == 0
    figures = json.loads(out.read_text())
    sizes = {
        direction: [(found[which]["queries"], found[which]["gallery"]) for which in ("full", "matched")]
        for direction, found in figures.items()
    }
    assert sizes == {"drone_to_satellite": [(6, 4), (6, 2)], "satellite_to_drone": [(2, 8), (2, 4)]}
    assert capsys.readouterr().out.count("matched") == 2


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--model", "nowhere"], "no model of the name"),
        (["--model", "/nowhere/last.safetensors"], "not a checkpoint"),
        (["--worlds", "a:b"], "not FIRST:LAST"),
        (["--worlds", "5:2"], "backwards"),
        (["--worlds", "5:6", "--patch-m", "5000", "--size-m", "10000"], "out of range"),
        (["--worlds", "5:6", "--stride-m", "0"], "leaves gaps"),
        (["--worlds", "5:5", "--patch-m", "10", "--size-m", "60"], "was trained on patches"),
        (["--dataset", "university-1652"], "not KIND:ROOT"),
        (["--dataset", "university-1652:/nowhere"], "no such folder"),
        (["--dataset", "atlas:/nowhere"], "'atlas' is not known"),
        (["--map", "/nowhere/map"], "--map needs --flight"),
        (["--flight", "/nowhere/flight"], "--flight needs --map"),
        (["--map", "/nowhere/map", "--flight", "/nowhere/flight"], "/nowhere/map"),
        (["--turns", "0"], "--turns 0"),
        (["--out", "/nowhere/figures.json"], "no such folder"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(words: list[str], wanted: str) -> None:
    with pytest.raises(TilefixError, match=wanted) as caught:
        evaluate(*words)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_and_an_untrained_network_of_its_shape(checkpoint: Path) -> None:
    model = open_model(str(checkpoint), "cpu")
    assert (model.name, model.manifest.patch_px, model.manifest.patch_m_max) == ("tiny", 32, 90.0)
    patches = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    trained, before = model.describe(patches, None), untrained(model)(patches, None)
    assert trained.shape == before.shape == (3, 32 * 4)
    np.testing.assert_allclose(np.linalg.norm(trained, axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(before, untrained(model)(patches, None))
    assert np.abs(trained - before).max() > 1e-3
    assert asdict(model.manifest)["descriptor_dim"] == 128


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Any) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command, "_worlds", lambda args: ("scored", {"a": 1}))
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(TilefixError, match="No space left"):
        evaluate("--out", tmp_path / "f.json")
    assert list(tmp_path.iterdir()) == []
