"""A whole run on a few drawn photos: it learns, and a run cut in two is the same run."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from support.training import write_config, write_photos
from tilefix.errors import ConfigError
from tilefix.pictures import read_picture
from tilefix_training import train
from tilefix_training.config import FitConfig, load_config
from tilefix_training.evaluation.dense import case_of, ranks
from tilefix_training.network.backbone import Backbone, BackboneConfig
from tilefix_training.network.checkpoint import load_checkpoint, load_network
from tilefix_training.network.export import preprocessing
from tilefix_training.network.features import describe


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


def losses(folder: Path) -> list[list[str]]:
    with (folder / "run" / train.LOG).open() as file:
        return list(csv.reader(file))


def test_a_run_cut_in_two_has_the_losses_and_weights_of_one_that_was_not(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    first = train.fit(config(photos, whole, epochs="epochs = 3"))
    plain = train._train_epoch

    def fail_in_the_third(*args: object) -> list[float]:
        if args[5] == 2:
            raise KeyboardInterrupt
        return plain(*args)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(train, "_train_epoch", fail_in_the_third)
        with pytest.raises(KeyboardInterrupt):
            train.fit(config(photos, cut, epochs="epochs = 3"))
    assert len(losses(cut)) == 3
    again = load_config(photos / "cut.toml")
    with pytest.raises(ConfigError, match="--resume"):
        train.fit(again)
    second = train.fit(again, resume=True)
    assert losses(cut) == losses(whole)
    one, other = load_checkpoint(first).group("network"), load_checkpoint(second).group("network")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_resuming_another_configuration_is_refused_by_name(photos: Path, tmp_path: Path) -> None:
    train.fit(config(photos, tmp_path, epochs="epochs = 1"))
    with pytest.raises(ConfigError, match="another epochs"):
        train.fit(config(photos, tmp_path, epochs="epochs = 2"), resume=True)


def test_two_epochs_find_places_better_than_an_untrained_network(photos: Path, tmp_path: Path) -> None:
    path = train.fit(config(photos, tmp_path, iterations="iterations = 25", dims="dims = [16, 24, 32, 48]"))
    rows = losses(tmp_path)
    assert [row[0] for row in rows] == ["epoch", "0", "1"]
    assert int(rows[2][3]) >= 2  # clusters of the drone view
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
    with pytest.raises(ConfigError, match=r"epoch 1: the drone view has 0 clusters.*drone_eps"):
        train.fit(config(photos, tmp_path, eps="drone_eps = 0.011\nk1 = 8\nmin_samples = 50"))
