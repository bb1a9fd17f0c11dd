from __future__ import annotations

from pathlib import Path

import pytest

from support.tools import load_tool
from tilefix.flights.flight import open_flight

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
real_flights = load_tool("real_flights")


def _table(folder: Path, rows: str) -> Path:
    source = folder / "nust_islamabad"
    source.mkdir(parents=True)
    (source / "flight.mp4").write_bytes(b"")
    (source / "pseudo_truth.csv").write_text("frame,lat,lon\n" + rows)
    return folder


def test_missing_frames_are_interpolated_and_the_end_is_continued(tmp_path: Path) -> None:
    known = [k for k in range(0, 1306, 15) if k not in (1170, 1215)]
    data = _table(tmp_path / "data", "".join(f"{k},{33 + k * 1e-6},{72 - k * 2e-6}\n" for k in known))
    folder = real_flights.prepare_nust(data, tmp_path / "nust")
    lines = (folder / "log.csv").read_text().splitlines()[1:]
    assert len(lines) == 91
    for line in lines:
        cells = line.split(",")
        frame, time_s, agl_m, roll_deg, pitch_deg, yaw_deg, lat_deg, lon_deg = (float(x) for x in cells[:8])
        assert not any(cells[8:])
        assert time_s == pytest.approx(frame / 29.97, abs=1e-4)
        assert (agl_m, roll_deg, pitch_deg, yaw_deg) == (146.7, 0.0, 0.0, 112.9)
        assert lat_deg == pytest.approx(33 + frame * 1e-6, abs=1e-9)
        assert lon_deg == pytest.approx(72 - frame * 2e-6, abs=1e-9)


@pytest.mark.imagery
@pytest.mark.skipif(not DATA.is_dir(), reason="no ../shared/data")
def test_the_real_folders_open(tmp_path: Path) -> None:
    nust = open_flight(real_flights.prepare_nust(DATA, tmp_path / "nust"))
    assert len(nust.rows) == 91
    assert nust.rows[0].truth == (33.6428552, 72.9920619)
    assert all(row.truth is not None for row in nust.rows)
    brighton = open_flight(real_flights.prepare_elsewhere(DATA, "brighton_beach", tmp_path / "b", 40.0))
    assert (len(brighton.rows), brighton.camera.width, brighton.rows[1].time_s) == (18, 1600, 7.0)
    lewis = open_flight(real_flights.prepare_elsewhere(DATA, "lewis_oblique", tmp_path / "l", 100.0))
    assert len(lewis.rows) == 12
    assert all(row.truth is None for row in lewis.rows)
