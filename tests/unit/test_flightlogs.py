"""Flights imported from a video and an autopilot's log."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from support.logs import WRITERS, broken, climb
from tilefix import cli
from tilefix.camera import CameraModel
from tilefix.errors import FlightError
from tilefix.flightlogs import READERS, ImportRequest, import_flight, read_log
from tilefix.flights.flight import open_flight

KINDS = sorted(WRITERS)
WIDTH, HEIGHT, RATE_HZ = 64, 48, 10.0
CAMERA = CameraModel.from_hfov(WIDTH, HEIGHT, 60.0)


def _video(path: Path, frames: int = 50) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), RATE_HZ, (WIDTH, HEIGHT))
    for index in range(frames):
        writer.write(np.full((HEIGHT, WIDTH, 3), index * 4, np.uint8))
    writer.release()
    return path


def _angle(one: float, other: float) -> float:
    return abs((one - other + 180.0) % 360.0 - 180.0)


def test_every_kind_of_log_has_a_writer_to_test_it() -> None:
    assert set(READERS) == set(WRITERS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_gives_attitude_height_and_truth_between_its_samples(tmp_path: Path, kind: str) -> None:
    series = read_log(WRITERS[kind](tmp_path / f"log{kind}", climb()))
    for time_s in (0.0, 1.013, 2.5, 7.777, 9.99):
        state = series.state_at(time_s, 7, 1.5)
        assert state.at_ns == 7
        assert (state.roll_deg, state.pitch_deg) == pytest.approx((2.0, -3.0), abs=0.02)
        assert state.yaw_deg is not None
        assert _angle(state.yaw_deg, 350.0 + 10.0 * time_s) < 0.1
        assert state.agl_m == pytest.approx(1.5 + max(0.0, 2.0 * (time_s - 1.0)), abs=0.1)
        truth = series.truth_at(time_s)
        assert truth is not None
        assert truth == pytest.approx((47.0 + 1e-4 * time_s, 8.0), abs=1e-6)
    assert series.ends_s == pytest.approx(10.0, abs=0.01)
    assert series.state_at(10.6, 0, 0.0).yaw_deg is None
    assert series.truth_at(12.0) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_rangefinder_wins_over_the_barometer_and_is_made_vertical(tmp_path: Path, kind: str) -> None:
    samples = [replace(sample, range_m=25.0) if sample.time_s < 105.0 else sample for sample in climb()]
    series = read_log(WRITERS[kind](tmp_path / f"log{kind}", samples))
    upright = math.cos(math.radians(2.0)) * math.cos(math.radians(3.0))
    assert series.state_at(3.0, 0, 0.0).agl_m == pytest.approx(25.0 * upright, abs=0.01)
    assert series.state_at(8.0, 0, 0.0).agl_m == pytest.approx(14.0, abs=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_an_imported_flight_replays(tmp_path: Path, kind: str) -> None:
    log = WRITERS[kind](tmp_path / f"log{kind}", climb())
    request = ImportRequest(_video(tmp_path / "v.avi"), log, tmp_path / "out", offset_s=2.0, camera=CAMERA)
    assert import_flight(request) == (50, 50)
    flight = open_flight(tmp_path / "out")
    assert flight.camera == CAMERA
    assert [row.frame for row in flight.rows] == [str(index) for index in range(50)]
    assert flight.rows[10].time_s == pytest.approx(1.0, abs=1e-6)
    # One second into the video the log is at three: 4 m up, heading 20 degrees.
    state = flight.rows[10].state
    assert state.agl_m == pytest.approx(4.0, abs=0.1)
    assert state.yaw_deg is not None
    assert _angle(state.yaw_deg, 20.0) < 0.1
    assert flight.rows[10].truth == pytest.approx((47.0003, 8.0), abs=1e-6)
    frames = list(flight.frames())
    assert len(frames) == 50
    assert abs(int(frames[10][1].image[0, 0, 0]) - 40) < 5


def test_every_nth_frame_and_only_what_the_log_covers(tmp_path: Path) -> None:
    log = WRITERS[".bin"](tmp_path / "log.bin", climb())
    request = ImportRequest(
        _video(tmp_path / "v.avi"), log, tmp_path / "out", offset_s=7.0, every=5, camera=CAMERA, start_agl_m=3.0
    )
    assert import_flight(request) == (7, 50)
    rows = open_flight(tmp_path / "out").rows
    assert [row.frame for row in rows] == ["0", "5", "10", "15", "20", "25", "30"]
    assert rows[0].state.agl_m == pytest.approx(15.0, abs=0.1)


def test_a_video_cut_in_the_middle_gives_the_frames_that_are_there(tmp_path: Path) -> None:
    whole = _video(tmp_path / "v.avi")
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    log = WRITERS[".bin"](tmp_path / "log.bin", climb())
    rows, frames = import_flight(ImportRequest(cut, log, tmp_path / "out", camera=CAMERA))
    assert 0 < rows == frames < 50
    assert sum(1 for _ in open_flight(tmp_path / "out").frames()) == rows


def test_frames_of_a_video_without_a_constant_rate_keep_their_own_times(tmp_path: Path) -> None:
    times_ms = [0, 33, 66, 100, 500, 533, 1000, 1900, 1933]
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time_ms in times_ms:
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 90, np.uint8), format="rgb24")
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode(None):
            container.mux(packet)
    log = WRITERS[".bin"](tmp_path / "log.bin", climb())
    import_flight(ImportRequest(tmp_path / "v.mp4", log, tmp_path / "out", camera=CAMERA))
    assert [round(row.time_s * 1000) for row in open_flight(tmp_path / "out").rows] == times_ms


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_of_another_time_is_refused(tmp_path: Path, kind: str) -> None:
    log = WRITERS[kind](tmp_path / f"log{kind}", climb())
    for offset_s in (-4.0, 8.0, 100.0):
        with pytest.raises(FlightError, match="offset-s"):
            import_flight(ImportRequest(_video(tmp_path / "v.avi"), log, tmp_path / "out", offset_s=offset_s))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"log{kind}", "v.avi"]


@pytest.mark.parametrize(("kind", "attitude"), [(".bin", "ATT"), (".tlog", "ATTITUDE"), (".ulg", "vehicle_attitude")])
def test_a_log_without_attitude_is_refused(tmp_path: Path, kind: str, attitude: str) -> None:
    with pytest.raises(FlightError, match=attitude):
        read_log(WRITERS[kind](tmp_path / f"log{kind}", climb(), leave_out=(attitude,)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_without_barometer_or_receiver_leaves_cells_empty(tmp_path: Path, kind: str) -> None:
    samples = [replace(sample, height_m=None, place=None) for sample in climb()]
    log = WRITERS[kind](tmp_path / f"log{kind}", samples)
    import_flight(ImportRequest(_video(tmp_path / "v.avi"), log, tmp_path / "out", camera=CAMERA))
    row = open_flight(tmp_path / "out").rows[3]
    assert (row.state.agl_m, row.truth) == (None, None)
    assert row.state.yaw_deg is not None


@pytest.mark.parametrize(("kind", "field"), [(".tlog", "roll_deg"), (".ulg", "pitch_deg"), (".bin", "height_m")])
def test_a_log_with_what_is_no_number_is_refused(tmp_path: Path, kind: str, field: str) -> None:
    with pytest.raises(FlightError, match="not finite"):
        read_log(WRITERS[kind](tmp_path / f"log{kind}", broken(climb(), 30, **{field: math.nan})))


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_whose_time_goes_back_is_refused(tmp_path: Path, kind: str) -> None:
    samples = climb(3.0) + climb(3.0)
    with pytest.raises(FlightError, match=r"back by 3\.0 s"):
        read_log(WRITERS[kind](tmp_path / f"log{kind}", samples))


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_cut_at_any_place_gives_its_part_or_is_refused(tmp_path: Path, kind: str) -> None:
    whole = WRITERS[kind](tmp_path / f"whole{kind}", climb(4.0))
    data = whole.read_bytes()
    ends = []
    for tenth in range(10):
        cut = tmp_path / f"cut{kind}"
        cut.write_bytes(data[: len(data) * tenth // 10 + 5])
        try:
            ends.append(read_log(cut).ends_s)
        except FlightError:
            ends.append(0.0)
    assert ends == sorted(ends)
    assert ends[0] == 0.0
    assert ends[-1] > 3.0
    video = _video(tmp_path / "v.avi", 40)
    cut.write_bytes(data[: len(data) // 4])
    with pytest.raises(FlightError):
        import_flight(ImportRequest(video, cut, tmp_path / "out", camera=CAMERA))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_log_with_any_bytes_changed_gives_series_or_an_error(
    tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    data = WRITERS[kind](tmp_path / f"whole{kind}", climb(1.0)).read_bytes()
    noise = np.random.default_rng(5)
    for _ in range(60):
        damaged = bytearray(data)
        for at in noise.integers(0, len(data), 8):
            damaged[at] = noise.integers(0, 256)
        path = tmp_path / f"damaged{kind}"
        path.write_bytes(damaged)
        with contextlib.suppress(FlightError):
            assert len(read_log(path).attitude) >= 2
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["log.bin", "log.tlog", "log.ulg"])
def test_what_is_no_log_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for content in (b"", b"hello", bytes(10_000), b"\xa3\x95" + bytes(500), b"ULog\x01\x12\x35\x01" + bytes(500)):
        path.write_bytes(content)
        with pytest.raises(FlightError):
            read_log(path)


def test_files_that_are_missing_or_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("x")
    for name in ("log.csv", "none.bin"):
        with pytest.raises(FlightError):
            read_log(tmp_path / name)
    log = WRITERS[".bin"](tmp_path / "log.bin", climb())
    (tmp_path / "text.mp4").write_text("no video")
    for video in ("none.mp4", "text.mp4"):
        with pytest.raises(FlightError):
            import_flight(ImportRequest(tmp_path / video, log, tmp_path / "out"))


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    log = WRITERS[".bin"](tmp_path / "log.bin", climb())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("keep")
    with pytest.raises(FlightError, match="exists already"):
        import_flight(ImportRequest(_video(tmp_path / "v.avi"), log, tmp_path / "out"))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_the_command_imports_and_says_what_it_assumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = WRITERS[".ulg"](tmp_path / "log.ulg", climb())
    video = _video(tmp_path / "v.avi")
    out = tmp_path / "out"
    common = ["flight", "import", "--video", str(video), "--log", str(log)]
    assert cli.main([*common, "--out", str(out), "--offset-s", "1.5"]) == 0
    said = capsys.readouterr()
    assert "50 rows" in said.out
    assert "70 degrees" in said.err
    assert "assumed" in (out / "flight.toml").read_text()
    assert open_flight(out).camera.fx == pytest.approx(CameraModel.from_hfov(WIDTH, HEIGHT, 70.0).fx)
    assert cli.main([*common, "--out", str(tmp_path / "two"), "--hfov-deg", "60"]) == 0
    assert capsys.readouterr().err == ""
    assert open_flight(tmp_path / "two").camera == CAMERA
    config = tmp_path / "c.toml"
    config.write_text(
        '[map]\npath = "m"\n[link]\nurl = "udpin:127.0.0.1:1"\n[mount]\npitch_deg = 9\n'
        f'[camera]\nsource = "v4l2:0"\nwidth = {WIDTH}\nheight = {HEIGHT}\nhfov_deg = 60\n'
    )
    assert cli.main([*common, "--out", str(tmp_path / "three"), "--config", str(config)]) == 0
    assert open_flight(tmp_path / "three").mount.pitch_deg == 9.0


@pytest.mark.parametrize(
    "wrong", [["--every", "0"], ["--offset-s", "nan"], ["--hfov-deg", "500"], ["--offset-s", "99"]]
)
def test_the_command_refuses_with_status_2_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    log = WRITERS[".bin"](tmp_path / "log.bin", climb())
    video = _video(tmp_path / "v.avi")
    arguments = ["flight", "import", "--video", str(video), "--log", str(log), "--out", str(tmp_path / "out")]
    assert cli.main([*arguments, *wrong]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.bin", "v.avi"]
