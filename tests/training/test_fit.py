"""A whole run on a few drawn photos: it learns, and a run cut in two is the same run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from support.training import write_config, write_photos
from tilefix.errors import ConfigError
from tilefix.pictures import read_picture
from tilefix_training import run, train
from tilefix_training.config import FitConfig, load_config
from tilefix_training.data.images import PatchImages
from tilefix_training.data.opened import open_images
from tilefix_training.evaluation.dense import case_of, ranks
from tilefix_training.network.backbone import Backbone, BackboneConfig
from tilefix_training.network.build import build
from tilefix_training.network.checkpoint import load_checkpoint, load_network
from tilefix_training.network.export import preprocessing
from tilefix_training.network.features import describe
from tilefix_training.objective import Seen
from tilefix_training.state import LOG


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    write_photos(root / "drone", 6, seed=1)
    write_photos(root / "satellite", 6, seed=2)
    return root


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def config(photos: Path, tmp_path: Path, **changes: str) -> FitConfig:
    return load_config(write_config(photos / f"{tmp_path.name}.toml", out=f'out = "{tmp_path}/run"', **changes))


def rows(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / "run" / LOG).read_text().splitlines()]
    for row in found:
        assert row["seconds"].keys() == row["cpu_seconds"].keys()
        del row["seconds"], row["cpu_seconds"]
    return found


def two_processes(path: Path) -> list[tuple[int, str]]:
    """Exit status and standard error of the two processes of a run, started as torchrun starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "tilefix_training.cli", "fit", str(path)]
    running = [
        subprocess.Popen(
            words,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        return [(process.wait(), text) for process in running for text in [process.communicate(timeout=240)[1]]]
    finally:
        for process in running:
            process.kill()


@pytest.mark.parametrize("memory", ["persistent", "epoch"])
def test_a_run_killed_in_every_phase_has_the_losses_and_weights_of_one_that_was_not(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: str
) -> None:
    """Epoch 0 warms up, 1 clusters and looks across the views, 2 and 3 share labels."""
    whole, cut = tmp_path / f"whole-{memory}", tmp_path / f"cut-{memory}"
    method = f'[icel]\ncross_epoch = 1\nintra = 0.5\n[ple]\nepoch = 2\n[dhml]\nmemory = "{memory}"'
    first = train.fit(config(photos, whole, epochs="epochs = 4", method=method))
    again = config(photos, cut, epochs="epochs = 4", method=method)
    plain = train._train
    for last in range(1, 4):

        def fail(own: run.Run, epoch: int, last: int = last) -> dict[str, float]:
            found = plain(own, epoch)
            if epoch == last:
                raise KeyboardInterrupt
            return found

        with monkeypatch.context() as patch:
            patch.setattr(train, "_train", fail)
            with pytest.raises(KeyboardInterrupt):
                train.fit(again, resume=last > 1)
        assert len(rows(cut)) == last
    with pytest.raises(ConfigError, match="--resume"):
        train.fit(again)
    second = train.fit(again, resume=True)
    assert rows(cut) == rows(whole)
    names = set().union(*(row["losses"] for row in rows(whole)))
    assert names >= {"warmup_drone", "contrast_drone", "dhml_satellite", "drone_to_satellite", "intra_satellite"}
    one, other = load_checkpoint(first), load_checkpoint(second)
    assert one.tensors.keys() == other.tensors.keys()
    assert all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)


def test_two_processes_make_the_clusters_and_nearly_the_weights_of_one(photos: Path, tmp_path: Path) -> None:
    """Over gloo, on this machine, with shares of a batch that are not equal."""
    batch = "clusters_per_batch = 3\nimages_per_cluster = 3\nbfloat16 = false"
    folders = tmp_path / "one", tmp_path / "two"
    train.fit(config(photos, folders[0], epochs="epochs = 3", batch=batch))
    config(photos, folders[1], epochs="epochs = 3", batch=batch)
    for code, text in two_processes(photos / "two.toml"):
        assert code == 0, text
    one, two = (load_checkpoint(folder / "run" / "last.safetensors") for folder in folders)
    for view in ("drone", "satellite"):
        assert torch.equal(one.tensors[f"labels.{view}"], two.tensors[f"labels.{view}"])
    for left, right in zip(rows(tmp_path / "one"), rows(tmp_path / "two"), strict=True):
        assert left["drone"] == right["drone"]
        assert left["losses"] == pytest.approx(right["losses"], rel=1e-3)
    for name, value in one.group("network").items():
        assert torch.allclose(value.float(), two.tensors[f"network.{name}"].float(), atol=2e-3), name


def test_an_error_of_the_first_process_ends_both_and_is_told_once(photos: Path, tmp_path: Path) -> None:
    config(
        photos, tmp_path, eps="eps = 0.011", neighbours="k1 = 8\nmin_samples = 50", warmup_epochs="warmup_epochs = 0"
    )
    (code, text), (other_code, other_text) = two_processes(photos / f"{tmp_path.name}.toml")
    assert (code, other_code) == (2, 2), text + other_text
    assert "tilefix-train: epoch 0: the drone view has 0 clusters" in text
    assert "Traceback" not in text
    assert "tilefix-train" not in other_text


def test_the_published_preset_runs_all_its_phases(photos: Path, tmp_path: Path) -> None:
    small = 'preset = "published"'
    method = """[dhml]
until_epoch = 2
[icel]
intra_epoch = 0
cross_epoch = 0
[ple]
epoch = 2"""
    path = train.fit(
        config(
            photos,
            tmp_path,
            extra=small,
            epochs="epochs = 3",
            method=method,
            warmup_epochs="warmup_epochs = 0",
            satellite_labels="copies = 4\neps = 0.6",
            stored_px='stored_px = 48\naugment = "published"',
            eps="eps = 0.6",
        )
    )
    losses = [set(row["losses"]) for row in rows(tmp_path)]
    assert "satellite_to_drone" in losses[0]
    assert "drone_to_satellite" not in losses[0]
    assert "drone_to_satellite" in losses[1]
    assert "dhml_drone" in losses[1]
    assert "dhml_drone" not in losses[2]
    assert rows(tmp_path)[2]["transferred"] > 0
    assert load_checkpoint(path).epoch == 3


def test_each_part_can_be_switched_off(photos: Path, tmp_path: Path) -> None:
    off = "[icel]\nenabled = false\n[ple]\nenabled = false\n[dhml]\nenabled = false"
    train.fit(config(photos, tmp_path, method=off, warmup_epochs="warmup_epochs = 0"))
    assert [set(row["losses"]) for row in rows(tmp_path)] == [{"contrast_drone", "contrast_satellite"}] * 2


def test_resuming_another_configuration_is_refused_by_name(photos: Path, tmp_path: Path) -> None:
    train.fit(config(photos, tmp_path, epochs="epochs = 1"))
    with pytest.raises(ConfigError, match=r"another run.epochs$|another run.epochs "):
        train.fit(config(photos, tmp_path, epochs="epochs = 2"), resume=True)


@pytest.mark.parametrize("line", ['{"epoch": 1, "losses": {}}\n', '{"epoch": 1, "los', "7\n"])
def test_a_log_line_of_an_unfinished_epoch_or_a_torn_one_is_dropped(photos: Path, tmp_path: Path, line: str) -> None:
    train.fit(config(photos, tmp_path, epochs="epochs = 1"))
    log = tmp_path / "run" / LOG
    log.write_text(log.read_text() + line)
    train.fit(config(photos, tmp_path, epochs="epochs = 1"), resume=True)
    assert [row["epoch"] for row in rows(tmp_path)] == [0]


def test_resuming_with_other_pictures_is_refused(photos: Path, tmp_path: Path) -> None:
    own = config(photos, tmp_path, epochs="epochs = 1")
    train.fit(own)

    def fewer(name: str, config: FitConfig) -> PatchImages:
        images = open_images(name, config)
        assert isinstance(images, PatchImages)
        return PatchImages(images.patches[:-1], images.name) if name == "drone" else images

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "open_images", fewer)
        with pytest.raises(ConfigError, match=r"started with 72 entries of the drone view, now there are 71"):
            train.fit(own, resume=True)


@pytest.mark.parametrize("what", ["loss", "weights"])
def test_a_run_that_diverges_stops_before_it_writes(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    plain, step = train.losses, train.remember

    def spoilt(drone: Seen, satellite: Seen, config: FitConfig, epoch: int) -> dict[str, torch.Tensor]:
        found = plain(drone, satellite, config, epoch)
        return {name: value * (float("nan") if epoch == 1 else 1.0) for name, value in found.items()}

    def spoil(seen: Seen, config: FitConfig, momentum: float) -> None:
        step(seen, config, momentum)
        if seen.view.memory is not None:
            networks[0].stem[0].bias.data.fill_(float("inf"))

    own = config(photos, tmp_path, iterations="iterations = 1")
    networks: list[Any] = []
    if what == "loss":
        monkeypatch.setattr(train, "losses", spoilt)
    else:
        monkeypatch.setattr(train, "remember", spoil)
        monkeypatch.setattr(run, "build", lambda shape: networks.append(build(shape)) or networks[0])
    with pytest.raises(ConfigError, match=rf"epoch 1.* the {what} (is|are) not finite.*learning_rate"):
        train.fit(own)
    assert [row["epoch"] for row in rows(tmp_path)] == [0]
    assert load_checkpoint(tmp_path / "run" / "last.safetensors").epoch == 1


def test_two_epochs_find_places_better_than_an_untrained_network(photos: Path, tmp_path: Path) -> None:
    path = train.fit(config(photos, tmp_path, iterations="iterations = 25", dims="dims = [16, 24, 32, 48]"))
    assert [row["epoch"] for row in rows(tmp_path)] == [0, 1]
    assert rows(tmp_path)[1]["drone"]["classes"] >= 2
    network = load_network(load_checkpoint(path), path)
    torch.manual_seed(5)
    untrained = Backbone(BackboneConfig((1, 1, 1, 1), (16, 24, 32, 48))).eval()
    manifest = preprocessing(32, 48)
    write_photos(tmp_path / "other", 1, seed=9, side=256)
    sky = read_picture(next((tmp_path / "other").iterdir()))
    flight = (200.0 * (sky[..., ::-1] / 255.0) ** 1.6).astype(np.uint8)  # another sensor
    case = case_of(sky, flight, patch_px=32, queries=80, rng=np.random.default_rng(0))
    trained, before = (
        np.median(ranks(case, lambda patches, masks, net=net: describe(net, patches, masks, manifest)))  # type: ignore[misc]
        for net in (network, untrained)
    )
    assert trained < 0.7 * before


def test_a_view_without_clusters_says_what_to_change(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"epoch 1: the drone view has 0 clusters.*\[drone\] eps"):
        train.fit(config(photos, tmp_path, eps="eps = 0.011", neighbours="k1 = 8\nmin_samples = 50"))
