from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from tilefix_training.data.images import PatchImages
from tilefix_training.monitor import FOLDER, Monitor, sheet

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every curve as TensorBoard shows it: (step, value)."""
    events = accumulator.EventAccumulator(str(folder / FOLDER))
    events.Reload()
    return {tag: [(item.step, item.value) for item in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def colours(values: list[int]) -> PatchImages:
    return PatchImages(np.stack([np.full((16, 16, 3), value, np.uint8) for value in values]), "colours")


def test_the_numbers_of_a_row_become_curves(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path)
    for epoch in (0, 1):
        row = {"epoch": epoch, "losses": {"drone": 2.0 - epoch, "dhml": 0.5}, "rate": 1e-3, "note": "text", "ok": True}
        monitor.epoch(row)
        monitor.scalars({"rate": 7.0}, epoch)
    monitor.close()
    monitor.close()
    found = curves(tmp_path)
    assert set(found) == {"losses/drone", "losses/dhml", "rate"}
    assert found["losses/drone"] == [(0, 2.0), (1, 1.0)]
    assert found["rate"] == [(0, pytest.approx(1e-3)), (1, pytest.approx(1e-3))]


def test_a_resumed_run_shows_every_epoch_once(tmp_path: Path) -> None:
    for start, end, value in ((0, 4, 1.0), (2, 5, 2.0)):
        monitor = Monitor(tmp_path, first_epoch=start)
        for epoch in range(start, end):
            monitor.scalars({"loss": value}, epoch)
        monitor.close()
    assert curves(tmp_path)["loss"] == [(0, 1.0), (1, 1.0), (2, 2.0), (3, 2.0), (4, 2.0)]


def test_clusters_are_counted_and_their_sizes_drawn(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path)
    monitor.clusters("drone", np.array([0, 0, 0, 2, 2, -1]), 3)
    monitor.clusters("satellite", np.array([-1, -1]), 3)
    monitor.close()
    found = curves(tmp_path)
    assert found["drone/classes"] == [(3, 2.0)]
    assert found["drone/outliers"] == [(3, 1.0)]
    assert found["satellite/classes"] == [(3, 0.0)]
    events = accumulator.EventAccumulator(str(tmp_path / FOLDER))
    events.Reload()
    assert events.Tags()["histograms"] == ["drone/class_sizes"]
    histogram = events.Histograms("drone/class_sizes")[0].histogram_value
    assert (histogram.num, histogram.sum, histogram.min, histogram.max) == (2.0, 5.0, 2.0, 3.0)


def test_a_sheet_shows_the_satellites_most_like_each_drone_picture_best_first(tmp_path: Path) -> None:
    satellites = [100, 110, 120, 130, 140, 150, 160]
    directions = np.array([[np.cos(a), np.sin(a)] for a in np.linspace(0, 1.2, 7)], np.float32)
    drone = (directions[[3, 0]] * 5).astype(np.float32)  # lengths must not count
    picture = sheet(colours([10, 20]), colours(satellites), drone, directions * [[9.0]] * 7, np.array([1, 0]))
    assert picture.shape == (192, 96 * 6 + 4, 3)
    centres = [[int(picture[48 + 96 * row, x, 0]) for x in (48, 97, *range(148, 580, 96))] for row in (0, 1)]
    assert centres[0] == [20, 255, 100, 110, 120, 130, 140]
    assert centres[1][:3] == [10, 255, 130]
    assert sorted(centres[1][2:]) == [110, 120, 130, 140, 150]
    monitor = Monitor(tmp_path)
    monitor.retrieval(colours([10, 20]), colours(satellites), drone, directions, 7)
    monitor.close()
    events = accumulator.EventAccumulator(str(tmp_path / FOLDER))
    events.Reload()
    (image,) = events.Images("retrieval")
    assert (image.step, image.height, image.width) == (7, 192, 580)


def test_a_monitor_that_is_off_writes_nothing(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path, enabled=False)
    monitor.scalars({"loss": 1.0}, 0)
    monitor.clusters("drone", np.array([0]), 0)
    monitor.retrieval(colours([1]), colours([2]), np.ones((1, 2), np.float32), np.ones((1, 2), np.float32), 0)
    monitor.close()
    assert list(tmp_path.iterdir()) == []


def test_without_tensorboard_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monitor = Monitor(tmp_path)
    with caplog.at_level(logging.WARNING):
        monitor.scalars({"loss": 1.0}, 0)
        monitor.scalars({"loss": 1.0}, 1)
    monitor.close()
    assert [record.getMessage() for record in caplog.records] == ["no TensorBoard curves: pip install tensorboard"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("terminal", "enabled"), [(True, True), (True, False), (False, True)])
def test_progress_shows_on_a_terminal_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool, enabled: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert list(Monitor(tmp_path, enabled=enabled).progress(iter("abc"), 3, "epoch 4")) == ["a", "b", "c"]
    shown = capsys.readouterr().err
    assert ("epoch 4" in shown) == (terminal and enabled)
    assert (terminal and enabled) or shown == ""
