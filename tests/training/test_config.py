from __future__ import annotations

from pathlib import Path

import pytest

from support.training import source, write_config
from tilefix.errors import ConfigError
from tilefix_training.config import load_config
from tilefix_training.presets import PRESETS
from tilefix_training.sources import PhotosSource, WorldsSource

SHIPPED = Path(__file__).parents[2] / "training" / "configs" / "tilefix-s.toml"


def test_the_shipped_models_config_reads_and_trains_on_training_seeds_only() -> None:
    config = load_config(SHIPPED)
    for view in (config.drone, config.satellite):
        for item in view.sources:
            if isinstance(item, WorldsSource):
                assert 0 <= item.first <= item.last < 1000
            else:
                assert Path(item.folder).name in ("oam_tiles", "caliterra")


def test_values_arrive_with_their_types(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path / "c.toml"))
    assert (config.run.name, config.run.epochs, config.network.dims) == ("tiny", 2, (8, 16, 24, 32))
    assert config.out == tmp_path / "run"
    assert config.drone.burst == 4
    assert config.drone.sources == (PhotosSource(str(tmp_path / "drone"), 160, 80, (20.0, 40.0)),)
    assert config.contrast.temperature == 0.05  # the method's


@pytest.mark.parametrize(
    ("key", "line", "text"),
    [
        ("epochs", "epochs = 0", r"c\.toml:4: epochs = 0 is out of range"),
        ("epochs", "epochs = 2.5", r"c\.toml:4: epochs = 2.5 is of the wrong type .write epochs = a whole number"),
        ("epochs", "epoch = 3", r"c\.toml:4: unknown key epoch in \[run\]"),
        ("name", 'name = "../tiny"', r"c\.toml:2: \[run\] name may hold"),
        ("name", "", r"c\.toml:1: \[run\] lacks name"),
        ("extra", "trained_on = 3", r"c\.toml:\d+: trained_on must be a list of values"),
        ("dims", "dims = [8, 16]", r"c\.toml:\d+: \[network\] dims must be four whole numbers"),
        ("patch_px", "patch_px = 40", r"c\.toml:\d+: \[patches\] patch_px = 40 is no multiple of 32"),
        ("patch_px", "patch_px = 64", r"c\.toml:\d+: \[patches\] stored_px is less than 4/3"),
        ("patch_px", "patch_px = 32\npatch_m_min = 900", "patch_m_min is larger"),
        ("batch", "bfloat16 = 1", "bfloat16 = 1 is of the wrong type .write bfloat16 = true or false"),
        ("drone_labels", 'labels = "names"', r"c\.toml:\d+: labels = 'names' is no choice .one of cluster, instance"),
        ("drone", "sources = []", r"\[drone\] needs sources"),
        ("drone", 'sources = [{ kind = "video" }]', "kind = one of worlds, tiles, photos"),
        ("drone", 'sources = [{ kind = "photos", folder = "x" }]', "lacks patch_m, patches, width_m"),
        ("drone", 'sources = [{ kind = "dataset", dataset = "vigor", folder = "x" }]', "dataset must be one of"),
        ("burst", "burst = 4\n[extra]", "unknown key extra"),
        ("extra", 'preset = "mine"', r"c\.toml:\d+: preset = 'mine' is not known .one of published, tilefix"),
        ("method", '[ple]\ntransfer = "guess"', "one of assignment, cluster_vote, image_vote"),
    ],
)
def test_what_is_wrong_is_refused_with_file_and_line(tmp_path: Path, key: str, line: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        load_config(write_config(tmp_path / "c.toml", **{key: line}))


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("patches = 80", "patches = 0", "patches must be a whole number"),
        ("patches = 80", "patches = 80, colour = 3", "unknown key colour"),
        ("[20, 40]", "[40, 20]", "the smallest and the largest"),
        ("[20, 40]", "[20]", "two numbers"),
        ("width_m = 160", "width_m = -1", "width_m must be a number"),
    ],
)
def test_a_wrong_source_is_refused(tmp_path: Path, old: str, new: str, text: str) -> None:
    line = source(tmp_path / "drone", 80).replace(old, new)
    with pytest.raises(ConfigError, match=text):
        load_config(write_config(tmp_path / "c.toml", drone=line))


def test_worlds_in_the_wrong_order_are_refused(tmp_path: Path) -> None:
    worlds = 'kind = "worlds", first = 3, last = 2, size_m = 300, gsd_m = 1.0, patches = 3, patch_m = [40, 80]'
    with pytest.raises(ConfigError, match="last is below first"):
        load_config(write_config(tmp_path / "c.toml", drone=f"sources = [{{ {worlds} }}]"))


def test_a_preset_gives_what_the_file_does_not_say_and_the_file_has_the_last_word(tmp_path: Path) -> None:
    path = write_config(tmp_path / "c.toml", extra='preset = "published"', method="[dhml]\nweight = 0.1")
    config = load_config(path, {"run.seed": 7, "icel.intra": 1.25})
    assert (config.dhml.memory, config.dhml.weight) == ("epoch", 0.1)
    assert (config.satellite.copies, config.optimiser.kind) == (50, "sgd")
    assert (config.run.seed, config.icel.intra, config.icel.drone_to_satellite) == (7, 1.25, 0.75)
    assert load_config(path, {"dhml.weight": None, "icel.ratio": None}).dhml.weight == 0.2
    with pytest.raises(ConfigError, match=r"icel.extra|unknown key extra"):
        load_config(path, {"icel.extra": 1})
    with pytest.raises(ConfigError, match="seed names no value"):
        load_config(path, {"seed": 1})


def test_every_preset_is_made_of_known_values(tmp_path: Path) -> None:
    for preset, sections in PRESETS.items():
        config = load_config(write_config(tmp_path / f"{preset}.toml", extra=f'preset = "{preset}"', batch=""))
        for section, values in sections.items():
            for key, value in values.items():
                given = {"network": ("backbone",), "patches": ("augment",)}.get(section, values.keys())
                if key in given and (section, key) not in {
                    ("drone", "eps"),
                    ("satellite", "labels"),
                    ("optimiser", "iterations"),
                    ("run", "epochs"),
                }:
                    assert getattr(getattr(config, section), key) == value
