"""What docs/training.md says of values and commands is what the code says."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tilefix_training.cli import _parser
from tilefix_training.config import SECTIONS, load_config
from tilefix_training.presets import PRESETS
from tilefix_training.sources import DatasetSource

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "training.md"
CONFIGS = ROOT / "training" / "configs"
DATASETS = {"university-1652": None, "sues-200": 150, "denseuav": None}

_ROW = re.compile(r"^\| `(?P<name>[a-z]+\.\w+)` \| `(?P<published>[^`]+)` \| `(?P<tilefix>[^`]+)` \|", re.MULTILINE)
_VALUE = re.compile(rf"`(?P<section>{'|'.join(SECTIONS)})\.(?P<key>\w+)`")
BARE = """[run]
name = "bare"
out = "run"
[drone]
sources = [{ kind = "dataset", dataset = "folder", folder = "drone" }]
[satellite]
sources = [{ kind = "dataset", dataset = "folder", folder = "satellite" }]
"""


def values(path: Path, preset: str) -> dict[str, Any]:
    """Every value of a configuration by "section.key"."""
    found = load_config(path, {"run.preset": preset}).json()
    return {f"{section}.{key}": value for section, items in found.items() for key, value in items.items()}


def test_the_table_of_presets_holds_every_difference_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "bare.toml"
    path.write_text(BARE)
    one, other = (values(path, preset) for preset in ("published", "tilefix"))
    differ = {name: (one[name], other[name]) for name in one if one[name] != other[name] and name != "run.preset"}
    rows = _ROW.findall(DOCUMENT.read_text())
    assert {name: (json.loads(left), json.loads(right)) for name, left, right in rows} == differ
    assert len(rows) == len(differ)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", DATASETS)
def test_the_example_of_each_data_set_loads_with_each_preset(name: str, preset: str) -> None:
    config = load_config(CONFIGS / f"{name}.toml", {"run.preset": preset})
    for view in (config.drone, config.satellite):
        assert [(s.dataset, s.height_m) for s in view.sources if isinstance(s, DatasetSource)] == [
            (name, DATASETS[name])
        ]
    assert config.network.backbone == "convnext-tiny"
    assert config.patches.augment == preset
    assert config.ple.epoch < config.run.epochs  # else no label is ever transferred


@pytest.mark.parametrize("name", ["try", "two-folders"])
def test_the_examples_for_beginners_go_through_every_phase(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.toml")
    assert config.icel.cross_epoch < config.ple.epoch < config.run.epochs


def test_every_value_that_is_named_exists() -> None:
    named = _VALUE.findall(DOCUMENT.read_text())
    assert len(named) > len(_ROW.findall(DOCUMENT.read_text()))
    for section, key in named:
        assert key in {field.name for field in dataclasses.fields(SECTIONS[section])}, f"{section}.{key}"


@pytest.mark.parametrize(
    "file",
    ["docs/training.md", "docs/model.md", "README.md", *(f"training/configs/{n}.toml" for n in (*DATASETS, "try"))],
)
def test_every_command_is_understood_and_every_file_it_names_is_there(file: str) -> None:
    text = re.sub(r"^#", " ", (ROOT / file).read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    commands = [match[1] for line in lines if (match := re.match(r"\s*tilefix-train (.+)", line))]
    assert commands
    for command in commands:
        words = shlex.split(re.sub(r"\.\.\.|\$(?=\d)|; done", "", command), comments=True)
        args = _parser().parse_args(words)
        config = getattr(args, "config", None)
        assert config is None or config.name in ("CONFIG", "my.toml") or (ROOT / config).is_file(), command


def test_the_tools_that_are_named_are_there() -> None:
    for name in re.findall(r"python (tools/\w+\.py)", DOCUMENT.read_text()):
        assert (ROOT / name).is_file(), name
