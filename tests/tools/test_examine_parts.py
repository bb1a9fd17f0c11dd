"""Why parts help: shares counted on labels made by hand, and gradients of a real, tiny run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from support.ablation import TINY, without_initial, write_tiny_dataset
from support.tools import load_tool

pytest.importorskip("torch")
ablate, examine_parts = load_tool("ablate"), load_tool("examine_parts")

from tilefix.errors import ConfigError  # noqa: E402
from tilefix_training.config import FitConfig, load_config  # noqa: E402
from tilefix_training.data.images import FolderImages  # noqa: E402
from tilefix_training.train import fit  # noqa: E402
from tilefix_training.view import View  # noqa: E402


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FitConfig:
    """A run of two epochs on pictures of five places."""
    root = tmp_path_factory.mktemp("parts")
    source = [{"kind": "dataset", "dataset": "university-1652", "folder": str(write_tiny_dataset(root / "data", 1998))}]
    places = {"run.out": str(root / "run"), "drone.sources": source, "satellite.sources": source}
    parts = {"drone.eps": 0.5, "icel.cross_epoch": 1, "ple.epoch": 1}
    config = load_config(without_initial(ablate.BASE, root), {**TINY, **parts, **places})
    fit(config)
    return config


def _view(names: list[str], labels: list[int], directions: list[list[float]]) -> View:
    images = FolderImages.__new__(FolderImages)
    images.paths = tuple(Path(name) / f"{number}.jpg" for number, name in enumerate(names))
    own = SimpleNamespace(copies=1)
    view = View("drone", own, images, np.array(labels))  # type: ignore[arg-type]
    view.directions = np.array(directions, np.float32)
    return view


def test_shares_are_those_counted_by_hand() -> None:
    east, north, middle = [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]
    drone = _view(["a", "a", "b", "b", "b"], [0, 0, 0, 1, -1], [east, east, middle, north, east])
    satellite = _view(["b", "a", "c"], [1, 1, 2], [north, east, [-1.0, 0.0]])
    parts = {"ple": SimpleNamespace(enabled=True, epoch=0), "icel": SimpleNamespace(enabled=True, ratio=0.7)}
    run = SimpleNamespace(views=[drone, satellite], config=SimpleNamespace(**parts))
    found = examine_parts.guesses(run, epoch=3)
    assert found["nearest"] == pytest.approx(4 / 5)  # the last one shows b and lies at a's
    assert found["clusters"] == pytest.approx(3 / 4)  # cluster 0 is a's, and holds one of b
    assert found["transferred"] == pytest.approx(1 / 2)  # label 1 is b's; the second satellite shows a
    assert found["transferred_size"] == 2
    # the third drone picture is near both: 0.6 > 0.7 * 0.8
    assert found["drone_to_satellite_size"] == pytest.approx(6 / 5)
    assert found["drone_to_satellite"] == pytest.approx(4 / 6)


def test_gradients_of_the_views_add_up_to_that_of_the_contrast(finished: FitConfig) -> None:
    found = examine_parts.examine(finished, warm=1, measured=3)
    assert found["epoch"] == 2
    pulls = found["pulls"]
    assert pulls["contrast"]["size"] == pytest.approx(1.0)
    assert pulls["contrast"]["to_contrast"] == pytest.approx(1.0, abs=1e-5)
    assert {"dhml_drone", "drone_to_satellite", "consistency", "information"} <= pulls.keys()
    # |sum|^2 of the two views' contrasts, out of their sizes and their angles to the sum
    along = sum(
        pulls[f"contrast_{view}"]["size"] * pulls[f"contrast_{view}"]["to_contrast"] for view in ("drone", "satellite")
    )
    assert along == pytest.approx(1.0, abs=1e-4)
    assert all(abs(row["to_contrast"]) <= 1.0 + 1e-5 for row in pulls.values())
    assert "to contrast" in examine_parts.text(found)


def test_what_is_looked_at_stays_as_it_was(finished: FitConfig) -> None:
    before = (finished.out / "last.safetensors").read_bytes()
    first, again = (examine_parts.examine(finished, warm=1, measured=1) for _ in range(2))
    assert first == again
    assert (finished.out / "last.safetensors").read_bytes() == before


def test_without_a_run_it_says_so(finished: FitConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert examine_parts.main(["mine:all", "--out", str(tmp_path)]) == 2
    assert "mine:all is no variant" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="holds no finished run"):
        examine_parts.examine(_elsewhere(finished, tmp_path))


def _elsewhere(config: FitConfig, folder: Path) -> FitConfig:
    return dataclasses.replace(config, run=dataclasses.replace(config.run, out=str(folder)))
