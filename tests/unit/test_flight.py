from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from support.flights import HEADER, TOML, picture, picture_flight, video_flight, write_picture
from tilefix.camera import CameraModel, Mount
from tilefix.errors import FlightError
from tilefix.flights.flight import open_flight
from tilefix.pictures import picture_size, read_picture


def test_pictures_come_with_their_rows(tmp_path: Path) -> None:
    flight = open_flight(picture_flight(tmp_path))
    assert flight.camera == CameraModel.from_hfov(64, 48, 60.0)
    assert flight.mount == Mount(0.0, 0.0, 90.0)
    got = list(flight.frames())
    assert [row.frame for row, _ in got] == ["f0.png", "f1.png", "f2.png"]
    assert [frame.captured_ns for _, frame in got] == [0, 500_000_000, 1_000_000_000]
    assert [frame.sequence for _, frame in got] == [0, 1, 2]
    assert [tuple(frame.image[0, 0]) for _, frame in got] == [(0, 0, 0), (10, 0, 0), (20, 0, 0)]
    row = got[1][0]
    assert row.truth == (47.1, 8.5)
    assert (row.state.at_ns, row.state.roll_deg, row.state.pitch_deg) == (500_000_000, 1.0, -2.0)
    assert (row.state.yaw_deg, row.state.agl_m) == (90.0, 100.0)
    assert len(list(flight.frames(limit=2))) == 2


def test_the_toml_itself_may_be_named(tmp_path: Path) -> None:
    assert open_flight(picture_flight(tmp_path) / "flight.toml") == open_flight(tmp_path)


def test_empty_cells_and_absent_truth_are_unknown(tmp_path: Path) -> None:
    row = open_flight(picture_flight(tmp_path, "f0.png,0,,,,,,\n")).rows[0]
    assert (row.state.agl_m, row.state.roll_deg, row.state.pitch_deg, row.state.yaw_deg) == (None,) * 4
    assert row.truth is None
    (tmp_path / "log.csv").write_text("frame,time_s,agl_m,roll_deg,pitch_deg,yaw_deg,note\nf0.png,0,1,0,0,0,hello\n")
    assert open_flight(tmp_path).rows[0].truth is None


def test_a_late_stamp_takes_the_log_of_the_exposure(tmp_path: Path) -> None:
    rows = "f0.png,0,100,0,0,350,47,8\nf1.png,1,110,2,-4,10,47.1,8.2\nf2.png,2,,2,-4,10,47.1,8.2\n"
    toml = (picture_flight(tmp_path, rows) / "flight.toml").read_text()
    (tmp_path / "flight.toml").write_text(toml.replace("[mount]", "latency_ms = 250\n[mount]"))
    flight = open_flight(tmp_path)
    assert flight.latency_ms == 250.0
    first, second, third = (row.state for row in flight.rows)
    assert [row.time_s for row in flight.rows] == [0.0, 1.0, 2.0]
    assert (first.roll_deg, first.agl_m, flight.rows[0].truth) == (None, None, None)  # nothing was logged before
    assert second.at_ns == 1_000_000_000
    assert (second.agl_m, second.roll_deg, second.pitch_deg) == (107.5, 1.5, -3.0)
    assert second.yaw_deg == 365.0  # the short way round
    assert flight.rows[1].truth == pytest.approx((47.075, 8.15))
    assert (third.agl_m, third.roll_deg) == (None, 2.0)


def test_nothing_is_interpolated_over_a_gap_of_the_log_nor_the_long_way_round(tmp_path: Path) -> None:
    rows = "f0.png,0,100,0,0,0,47,179.9\nf1.png,1,100,0,0,0,47,-179.9\nf2.png,9,100,0,0,0,47,-179.7\n"
    toml = (picture_flight(tmp_path, rows) / "flight.toml").read_text()
    (tmp_path / "flight.toml").write_text(toml.replace("[mount]", "latency_ms = 250\n[mount]"))
    first, second = open_flight(tmp_path).rows[1:]
    assert first.truth == pytest.approx((47.0, -179.95))
    assert (second.state.roll_deg, second.state.agl_m, second.truth) == (None, None, None)


def test_all_heights_are_read_and_are_those_of_the_exposure(tmp_path: Path) -> None:
    header = HEADER.strip() + ",agl_sigma_m,amsl_m,amsl_sigma_m\n"
    rows = "f0.png,0,100,0,0,0,47,8,2,500,3\nf1.png,1,110,0,0,0,47,8,4,520,5\nf2.png,2,,0,0,0,47,8,,,\n"
    toml = (picture_flight(tmp_path, rows, header=header) / "flight.toml").read_text()
    heights = [(row.state.agl_sigma_m, row.state.amsl_m, row.state.amsl_sigma_m) for row in open_flight(tmp_path).rows]
    assert heights == [(2.0, 500.0, 3.0), (4.0, 520.0, 5.0), (None, None, None)]
    (tmp_path / "flight.toml").write_text(toml.replace("[mount]", "latency_ms = 500\n[mount]"))
    state = open_flight(tmp_path).rows[1].state
    assert (state.agl_sigma_m, state.amsl_m, state.amsl_sigma_m) == (3.0, 510.0, 4.0)
    (tmp_path / "log.csv").write_text(header + rows.replace(",500,", ",-5000,"))
    with pytest.raises(FlightError, match="amsl_m = -5000 is out of range"):
        open_flight(tmp_path)


def test_a_latency_beyond_reason_is_refused(tmp_path: Path) -> None:
    toml = (picture_flight(tmp_path) / "flight.toml").read_text()
    (tmp_path / "flight.toml").write_text(toml.replace("[mount]", "latency_ms = 9000\n[mount]"))
    with pytest.raises(FlightError, match="latency_ms"):
        open_flight(tmp_path)


def test_a_video_is_read_in_order_and_unused_frames_are_skipped(tmp_path: Path) -> None:
    flight = open_flight(video_flight(tmp_path, "".join(f"{k},{k},100,0,0,0,,\n" for k in (1, 4, 11))))
    reds = [int(frame.image[10, 10, 0]) for _, frame in flight.frames()]
    assert np.allclose(reds, [10, 40, 110], atol=3)


def test_a_picture_of_another_size_scales_the_intrinsics(tmp_path: Path) -> None:
    picture_flight(tmp_path)
    (tmp_path / "flight.toml").write_text(TOML.format(frames="photo/*.png", width=128, height=96))
    flight = open_flight(tmp_path)
    assert flight.camera.width == 64
    assert flight.camera.fx == pytest.approx(CameraModel.from_hfov(64, 48, 60.0).fx)
    assert flight.camera.cx == pytest.approx(31.5)


def test_a_picture_of_another_shape_is_refused(tmp_path: Path) -> None:
    picture_flight(tmp_path)
    (tmp_path / "flight.toml").write_text(TOML.format(frames="photo/*.png", width=128, height=72))
    with pytest.raises(FlightError, match=r"flight.toml:4: the pictures are 64 x 48 px.*128 x 72"):
        open_flight(tmp_path)


def test_a_picture_of_another_size_within_a_flight_is_refused(tmp_path: Path) -> None:
    flight = open_flight(picture_flight(tmp_path))
    write_picture(tmp_path / "photo" / "f1.png", picture(0, 32, 24))
    with pytest.raises(FlightError, match=r"frame f1.png: picture of 32 x 24 px in a flight of 64 x 48"):
        list(flight.frames())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("f0.png,0,nan,0,0,0,,\n", r"log.csv:2: agl_m is 'nan'"),
        ("f0.png,0,1,0,0,0,,\nf1.png,1,1,0,inf,0,,\n", r"log.csv:3: pitch_deg is 'inf'"),
        ("f0.png,0,high,0,0,0,,\n", r"log.csv:2: agl_m is 'high'"),
        ("f0.png,0,1,0,0,400,,\n", r"log.csv:2: yaw_deg = 400 is out of range \(give -360 to 360\)"),
        ("f0.png,0,1,0,0,0,91,0\n", r"lat_deg = 91 is out of range"),
        ("f0.png,-1,1,0,0,0,,\n", r"time_s = -1 is out of range"),
        ("f0.png,,1,0,0,0,,\n", r"log.csv:2: frame and time_s must not be empty"),
        ("f0.png,0,1,0,0,0,47,\n", r"log.csv:2: truth needs both"),
        ("f0.png,5,1,0,0,0,,\nf1.png,4,1,0,0,0,,\n", r"log.csv:3: time goes from 5 s to 4 s"),
        ("f0.png,5,1,0,0,0,,\nf1.png,5,1,0,0,0,,\n", r"log.csv:3: time goes"),
        ("f0.png,0,1,0,0,0,,\nf9.png,1,1,0,0,0,,\n", r"log.csv:3: frame 'f9.png' does not exist"),
        ("../photo/f0.png,0,1,0,0,0,,\n", r"does not exist"),
        ("f0.png,0,1,0,0,0,,\nf0.png,1,1,0,0,0,,\n", r"log.csv:3: frame 'f0.png' stands in line 2 too"),
        ("f0.png,0,1,0\nf1.png,1,1,0,0,0,,\n", r"log.csv:2: 4 cells for 8 columns"),
        ("f0.png,0,1,0\n", r"log.csv:2: 4 cells for 8 columns"),
        ('f0.png,"0,1\n', r"log is not CSV"),
        ("", r"log has no row"),
    ],
)
def test_a_bad_log_is_refused_with_its_line(tmp_path: Path, rows: str, message: str) -> None:
    picture_flight(tmp_path, rows)
    with pytest.raises(FlightError, match=message):
        open_flight(tmp_path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("frame,time_s,agl_m,roll_deg\n", r"log.csv:1: log lacks pitch_deg, yaw_deg"),
        ("", r"log.csv:1: log lacks frame"),
        ("frame,time_s,agl_m,roll_deg,pitch_deg,yaw_deg,yaw_deg,x\n", r"a column stands twice"),
        ("frame,time_s,agl_m,roll_deg,pitch_deg,yaw_deg,lat_deg,x\n", r"truth needs both"),
    ],
)
def test_bad_columns_are_refused(tmp_path: Path, header: str, message: str) -> None:
    picture_flight(tmp_path, header=header)
    with pytest.raises(FlightError, match=message):
        open_flight(tmp_path)


def test_the_torn_last_line_of_a_recording_is_left_out(tmp_path: Path) -> None:
    picture_flight(tmp_path, "f0.png,0,1,0,0,0,,\nf1.png,1,1,0")
    assert [row.frame for row in open_flight(tmp_path).rows] == ["f0.png"]


def test_a_log_that_is_not_text_is_refused(tmp_path: Path) -> None:
    picture_flight(tmp_path)
    (tmp_path / "log.csv").write_bytes(HEADER.encode() + b"\xff\xfe\x00\n")
    with pytest.raises(FlightError, match=r"log is not CSV"):
        open_flight(tmp_path)
    (tmp_path / "log.csv").unlink()
    with pytest.raises(FlightError, match=r"log cannot be read"):
        open_flight(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("hight = 3", r"flight.toml:10: unknown key hight in \[mount\]"),
        ("[wind]\nspeed = 3", r"flight.toml:10: unknown key wind"),
        ("pitch_deg = nan", r"flight.toml:10: pitch_deg = nan is not a finite number"),
        ("pitch_deg = 999", r"flight.toml:10: pitch_deg = 999 is out of range"),
        ("pitch_deg = true", r"flight.toml:10: pitch_deg = True is not"),
        ("pitch_deg =", r"is not TOML.*line 10"),
    ],
)
def test_a_bad_flight_toml_is_refused_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    path = picture_flight(tmp_path) / "flight.toml"
    path.write_text(path.read_text() + "\n" + line + "\n")
    with pytest.raises(FlightError, match=message):
        open_flight(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('log = "log.csv"\n', "", r"flight.toml: log must be a text"),
        ('"photo/*.png"', '"photo/*.jpg"', r"flight.toml:1: frames = \"photo/\*.jpg\" finds nothing"),
        ("[camera]", "[mount2]", r"unknown key mount2"),
        ("hfov_deg = 60", "", r"flight.toml:3: give either hfov_deg or fx"),
        ("hfov_deg = 60", "hfov_deg = 60\nfx = 3", r"flight.toml:3: give either hfov_deg or fx"),
        ("hfov_deg = 60", "fx = 50\nfy = 50\ncx = 31", r"\[camera\] lacks cy"),
        ("width = 64", "width = 64.5", r"flight.toml:4: width and height must be whole"),
        ("width = 64", "width = 1e9", r"flight.toml:4: width = 1000000000.0 is out of range"),
        ("hfov_deg = 60", "hfov_deg = 60\ndistortion = [1, 2]", r"flight.toml:7: distortion must be five numbers"),
        ("hfov_deg = 60", "hfov_deg = 60\ndistortion = 5", r"flight.toml:7: distortion must be five numbers"),
    ],
)
def test_a_wrong_camera_or_path_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = picture_flight(tmp_path) / "flight.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(FlightError, match=message):
        open_flight(tmp_path)


def test_an_absent_or_huge_flight_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FlightError, match=r"cannot be read"):
        open_flight(tmp_path)
    (tmp_path / "flight.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(FlightError, match=r"larger than 1 MiB"):
        open_flight(tmp_path)


def test_two_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    path = picture_flight(tmp_path) / "flight.toml"
    write_picture(tmp_path / "photo" / "more" / "f0.png", picture(0))
    path.write_text(path.read_text().replace("photo/*.png", "photo/**/*.png"))
    with pytest.raises(FlightError, match=r"flight.toml:1: two pictures are named f0.png"):
        open_flight(tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("x,0,1,0,0,0,,\n", r"log.csv:2: frame 'x' is no index"),
        ("-1,0,1,0,0,0,,\n", r"is no index"),
        ("2,0,1,0,0,0,,\n1,1,1,0,0,0,,\n", r"log.csv:3: frame 1 comes after frame 2"),
        ("5000,0,1,0,0,0,,\n", r"log.csv:2: frame 5000 does not exist: the video has about 12 frames"),
    ],
)
def test_bad_video_indices_are_refused(tmp_path: Path, rows: str, message: str) -> None:
    with pytest.raises(FlightError, match=message):
        open_flight(video_flight(tmp_path, rows))


def test_a_video_cut_in_the_middle_names_the_frame_that_is_gone(tmp_path: Path) -> None:
    video_flight(tmp_path, "".join(f"{k},{k},100,0,0,0,,\n" for k in range(24)), count=24)
    whole = (tmp_path / "flight.avi").read_bytes()
    (tmp_path / "flight.avi").write_bytes(whole[: whole.rindex(b"00dc", 0, len(whole) * 3 // 4)])
    flight = open_flight(tmp_path)
    frames = flight.frames()
    seen = []
    with pytest.raises(FlightError, match=r"flight.avi: video ends after \d+ frames, frame \d+ of the log") as raised:
        seen.extend(frames)
    assert 0 < len(seen) < 24
    assert f"first {len(seen)} rows" in str(raised.value)
    assert len(list(flight.frames(limit=len(seen)))) == len(seen)


@pytest.mark.parametrize("content", [b"", b"#EXTM3U\n/etc/passwd\n", b"\x00\x00\x00\x20ftypisom" + b"\x00" * 200])
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    video_flight(tmp_path, "0,0,1,0,0,0,,\n")
    (tmp_path / "flight.avi").write_bytes(content)
    with pytest.raises(FlightError, match=r"flight.avi: (is no video file|video cannot be opened)"):
        open_flight(tmp_path)


def test_a_claimed_giant_picture_is_refused_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    write_picture(path, picture(0))
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 60000, 60000)
    path.write_bytes(data)
    with pytest.raises(FlightError, match=r"bomb.png: picture claims 60000 x 60000 px"):
        picture_size(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_truncated_picture_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    write_picture(path, noise)
    assert picture_size(path) == (64, 48)
    assert read_picture(path).shape == (48, 64, 3)
    data = path.read_bytes()
    for keep in range(0, len(data) - 1, 97):
        path.write_bytes(data[:keep])
        with pytest.raises(FlightError, match=r"cut short|neither JPEG nor PNG|claims"):
            read_picture(path)


def test_a_corrupt_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    write_picture(path, noise)
    data = bytearray(path.read_bytes())
    data[60:200] = bytes(140)
    path.write_bytes(data)
    with pytest.raises(FlightError, match=r"cannot be decoded"):
        read_picture(path)
