from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import flight_over, small_map
from support.tools import load_tool
from tilefix.flights.flight import open_flight
from tilefix.localization.correlation import Template
from tilefix.localization.look import Looker
from tilefix.localization.rectify import Patch
from tilefix.localization.register import MapCorrelator
from tilefix.localization.settings import LocalizerSettings

benchmark_tracking = load_tool("benchmark_tracking")
report = load_tool("tracking_report")


def test_every_block_of_the_map_is_correlated_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = small_map(tmp_path / "map", ThumbnailEmbedder(), side_px=1000)
    image = np.random.default_rng(0).integers(0, 255, (65, 65), np.uint8)
    template = Template(Patch(image, np.ones((65, 65), bool), package.grid.gsd_m, 0.0, 0.0))
    looked: list[tuple[int, tuple[int, int]]] = []
    search = MapCorrelator.search_block

    def noted(self: MapCorrelator, template: Template, block: tuple[int, int]) -> object:
        looked.append((id(self), block))
        return search(self, template, block)

    monkeypatch.setattr(MapCorrelator, "search_block", noted)
    kept_ms, anew_ms = benchmark_tracking.whole_map_ms(package, 1, template)
    blocks = MapCorrelator(package.imagery, package.coverage, package.grid, 1).blocks
    assert len(blocks) == 4
    assert [block for _, block in looked] == blocks * (1 + 2 * benchmark_tracking.SEARCHES)
    assert min(kept_ms, anew_ms) > 0.0


def test_the_best_place_is_found_under_the_right_error(tmp_path: Path) -> None:
    package = small_map(tmp_path / "map", ThumbnailEmbedder(), side_px=700)
    flight = open_flight(flight_over(package, tmp_path / "flight", count=1))
    looker = Looker(package, flight.camera, flight.mount, LocalizerSettings())
    row, frame = next(iter(flight.frames()))
    here = package.frame.to_local(*row.truth)
    seen = looker.look(frame, replace(row.state, yaw_deg=row.state.yaw_deg - 8.0), 0.0, 1.0)
    factor, (wrong, right) = benchmark_tracking.fine_templates(seen, [(0.0, 1.0), (8.0, 1.0)])
    assert factor == (seen.fine or seen.correlator).factor
    peak, other = (benchmark_tracking.best_place(seen.fine or seen.correlator, [one]) for one in (right, wrong))
    assert peak.correlation > other.correlation + 0.2
    assert benchmark_tracking.best_place(seen.fine or seen.correlator, [wrong, right]).correlation == peak.correlation
    assert np.allclose((peak.east_m - seen.offset_m[0], peak.north_m - seen.offset_m[1]), here, atol=1.5)
    turn_deg, scale = benchmark_tracking.steps(seen, here)
    assert 1.0 <= turn_deg <= 12.0
    assert 0.01 <= scale <= 0.2


def test_hypotheses_leave_none_further_than_half_a_step_away() -> None:
    for reach, step in ((2.0, 4.5), (2.0, 1.5), (10.0, 4.0), (0.15, 0.03)):
        values = benchmark_tracking.spread(reach, step)
        assert 0.0 in values
        assert max(values) + 0.5 * step >= reach - 1e-9
        assert max(values) - step + 0.5 * step < reach
        assert np.allclose(np.diff(values), step)
    assert benchmark_tracking.spread(2.0, 4.5) == [0.0]


def test_the_width_of_a_peak_is_taken_at_its_half_above_what_is_wrong() -> None:
    values = np.arange(-10.0, 11.0)
    scores = np.where(np.abs(values) <= 2.0, 0.5, 0.1)
    scores[10] = 0.6
    scores[0] = 0.58  # another peak counts for nothing
    assert benchmark_tracking.width(values, scores) == 5.0


def test_tables_and_picture_say_how_many_times_the_tracked_frame(tmp_path: Path) -> None:
    one = report.Measured(
        map_km2=25.0, agl_m=100.0, level_m=1.2, fine_m=0.6, tracked_ms=20.0, tracked_errors_m=[1.0, 2.0],
        level_ready_ms=100.0, one_ready_ms=600.0, one_anew_ms=2000.0, one_errors_m=[3.0, 900.0], all_ready_ms=1800.0,
        all_errors_m=[3.0, 2.0], turns=1, scales=3, larger=40,
    )  # fmt: skip
    assert one.all_anew_ms == 3200.0
    text = report.table([one])
    assert "| 25.0 km² | 100 m | 1/5 | 1/30 | 1/100 | 1/90 | 1/160 | 1/1200: 40 |" in text
    assert "| 1 of 2, 3.00 m | 1 x 3 | 1800, 3200 ms | 2 of 2, 2.50 m |" in text
    svg = ElementTree.fromstring(report.picture([one]))
    words = ["".join(node.itertext()) for node in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert [word for word in words if word.isdigit()] == ["1", "30", "100", "90", "160"]
    bars = list(svg.iter("{http://www.w3.org/2000/svg}rect"))[-5:]
    heights = [float(node.attrib["height"]) for node in bars]
    assert sorted(range(5), key=heights.__getitem__) == [0, 1, 3, 2, 4]


def test_an_unknown_flight_is_one_clear_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark_tracking.main(["development/1-1", "--flown", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("benchmark_tracking: no flight development/1-1")
    assert not (tmp_path / "out").exists()
