"""The configuration: what it gives, and every way of being wrong."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilefix.camera import CameraModel, Mount
from tilefix.errors import ConfigError
from tilefix.localization.localizer import LocalizerSettings
from tilefix.publishing.settings import PublishSettings
from tilefix.service.config import Config, ModelSettings, load_config

EXAMPLE = Path(__file__).parents[2] / "deploy" / "config" / "tilefix.toml"
LEAST = """\
[map]
path = "map"
[camera]
source = "v4l2:0"
width = 640
height = 480
hfov_deg = 60
[link]
url = "udpin:127.0.0.1:14550"
"""


def _load(folder: Path, text: str) -> Config:
    path = folder / "tilefix.toml"
    path.write_text(text)
    return load_config(path)


def test_the_least_configuration_has_every_default(tmp_path: Path) -> None:
    config = _load(tmp_path, LEAST)
    assert config.map.path == tmp_path / "map"
    assert config.folder == tmp_path
    assert config.camera.model == CameraModel.from_hfov(640, 480, 60.0)
    assert config.mount == Mount()
    assert config.publish == PublishSettings()
    assert config.localizer == LocalizerSettings()
    assert (config.link.component_id, config.model.path, config.record.path) == (191, None, None)
    assert (config.start.at_loss, config.height.source, config.height.anchor) == ("auto", "auto", "gnss")


@pytest.mark.parametrize("path", sorted(EXAMPLE.parent.glob("*.toml")), ids=lambda path: path.stem)
def test_every_configuration_that_ships_can_be_read(path: Path) -> None:
    config = load_config(path)
    # They are for a board that was provisioned; the complete one stands for itself.
    assert path == EXAMPLE or config.map.path == Path("/var/lib/tilefix/maps/site/current")
    assert path == EXAMPLE or config.record.path is not None


def test_the_example_is_complete_and_holds_the_defaults() -> None:
    config = load_config(EXAMPLE)
    text = EXAMPLE.read_text()
    for section in dataclasses.fields(Config):
        if section.name == "folder":
            continue
        assert f"[{section.name}]" in text
        value = getattr(config, section.name)
        assert section.default_factory is dataclasses.MISSING or value == section.default_factory()
        if section.name == "localizer":
            continue
        for key in dataclasses.fields(value):
            if key.name not in ("fx", "fy", "cx", "cy"):
                assert re.search(rf"^(# )?{key.name} = ", text, re.MULTILINE), f"[{section.name}] {key.name}"


def test_everything_can_be_set(tmp_path: Path) -> None:
    config = _load(
        tmp_path,
        LEAST.replace("hfov_deg = 60", "fx = 500\nfy = 501.5\ncx = 320\ncy = 240\ndistortion = [0.1, 0, 0, 0, 0]")
        + '[mount]\npitch_deg = 10\n[publish]\ngps_id = 2\nmirror_gnss = false\n[start]\nat_loss = "keep"\n'
        "hint_lat_deg = 47\nhint_lon_deg = 8\nhint_sigma_m = 50\n[localizer]\nmax_tilt_deg = 20\n"
        '[record]\npath = "/tmp/x"\nmax_bytes = 5_000_000\n[model]\npath = "m.onnx"\nprovider = "onnxruntime"\n'
        '[height]\nsource = "baro"\nground_amsl_m = 431\n',
    )
    assert config.camera.model == CameraModel(640, 480, 500.0, 501.5, 320.0, 240.0, (0.1, 0.0, 0.0, 0.0, 0.0))
    assert config.mount.pitch_deg == 10.0
    assert (config.publish.gps_id, config.publish.mirror_gnss) == (2, False)
    assert (config.start.at_loss, config.start.hint_sigma_m) == ("keep", 50.0)
    assert config.localizer.max_tilt_deg == 20.0
    assert config.record.path == Path("/tmp/x")
    assert config.model == ModelSettings(tmp_path / "m.onnx", "onnxruntime")
    assert config.height.ground_amsl_m == 431.0


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("[map]", "[mapp]", 1, "unknown key mapp"),
        ('path = "map"', 'pathh = "map"', 2, "unknown key pathh in [map]"),
        ('path = "map"', "path = 5", 2, "wrong type"),
        ('path = "map"', 'path = ""', 2, "empty"),
        ("width = 640", 'width = "640"', 5, "wrong type"),
        ("width = 640", "width = 640.0", 5, "wrong type"),
        ("width = 640", "width = true", 5, "wrong type"),
        ("width = 640", "width = 8", 5, "16 to 32768"),
        ("hfov_deg = 60", "hfov_deg = nan", 7, "out of range"),
        ("hfov_deg = 60", "hfov_deg = 200", 7, "1 to 170"),
        ("hfov_deg = 60", "hfov_deg = 60\nfx = 500", 7, "either hfov_deg or fx"),
        ("hfov_deg = 60", "fx = 500", 7, "belong together"),
        ("hfov_deg = 60", "", 3, "either hfov_deg or fx"),
        ("hfov_deg = 60", "hfov_deg = 60\ndistortion = [1, 2]", 8, "list of 5 values"),
        ("hfov_deg = 60", 'hfov_deg = 60\ndistortion = [1, 2, 3, 4, "x"]', 8, "wrong type"),
        ("hfov_deg = 60", "hfov_deg = 60\ndistortion = 0.1", 8, "list of 5 values"),
        ("height = 480", "", 3, "lacks height"),
        ("[link]", "[link]\ncomponent_id = 0", 9, "1 to 255"),
        ("[link]", "[link]\nsystem_id = 256", 9, "1 to 255"),
        ("[link]", "[link]\nrequire_signing = true", 9, "need a signing_key_file"),
        ("[link]", '[link]\nsigning_state_file = "x"', 9, "need a signing_key_file"),
        ("[link]", "[publish]\nrate_hz = 0.01\n[link]", 9, "0.05 to 20"),
        ("[link]", '[publish]\nroute = "gps_input"\nrate_hz = 4\n[link]', 10, "at least 5"),
        ("[link]", '[publish]\nroute = "pigeon"\n[link]', 9, "auto, gps_input, vision"),
        ("[link]", "[publish]\nrate_hz = 99999999999999999999\n[link]", 9, "0.05 to 20"),
        ("[link]", "[publish]\nmirror_gnss = 1\n[link]", 9, "true or false"),
        ("[link]", '[start]\nat_loss = "pray"\n[link]', 9, "uniform, last_gnss, keep"),
        ("[link]", "[start]\nhint_lat_deg = 47\n[link]", 9, "belong together"),
        ("[link]", '[model]\nprovider = "abacus"\n[link]', 9, "auto, onnxruntime"),
        ("[link]", "[mount]\nyaw_deg = 1000\n[link]", 9, "-360 to 360"),
        ("[link]", "[localizer]\nmax_tilt = 5\n[link]", 9, "unknown key max_tilt"),
        ("[link]", "[localizer]\nmax_tilt_deg = 500\n[link]", 9, "0 to 180"),
        ("[link]", "[localizer]\nmax_speed_mps = -1\n[link]", 9, "0 to 300"),
        ("[link]", '[height]\nanchor = "ground"\n[link]', 9, "ground_amsl_m"),
        ("[link]", "[publish]\ngps_id = 0\n[link]", 9, "only receiver"),
        ("[link]", "[record]\nmax_bytes = 10\n[link]", 9, "out of range"),
        ("[link]", "oops\n[link]", None, "TOML"),
        ("[link]", "[camera]\n[link]", None, "TOML"),
    ],
)
def test_what_is_wrong_is_refused_with_file_and_line(
    tmp_path: Path, old: str, new: str, line: int | None, says: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        _load(tmp_path, LEAST.replace(old, new, 1))
    message = str(caught.value)
    assert says in message
    assert str(tmp_path / "tilefix.toml") in message
    if line is not None:
        assert f"tilefix.toml:{line}:" in message


@pytest.mark.parametrize("section", ["map", "camera", "link"])
def test_a_missing_section_is_named_with_its_keys(tmp_path: Path, section: str) -> None:
    text = re.sub(rf"\[{section}\]\n([a-z_]+ = .*\n)+", "", LEAST)
    with pytest.raises(ConfigError, match=rf"\[{section}\] is missing"):
        _load(tmp_path, text)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml")


@given(st.text(max_size=300))
def test_no_text_gets_anything_but_a_configuration_or_its_error(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(ConfigError):
        load_config(path)


@pytest.mark.parametrize("field", dataclasses.fields(LocalizerSettings), ids=lambda field: field.name)
def test_every_setting_of_the_localizer_has_limits(tmp_path: Path, field: dataclasses.Field[float]) -> None:
    for value in ("-1", "10_000_000_000"):
        with pytest.raises(ConfigError, match=rf":11: {field.name} = .* is out of range"):
            _load(tmp_path, f"{LEAST}[localizer]\n{field.name} = {value}{'' if field.type == 'int' else '.0'}\n")
