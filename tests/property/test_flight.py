from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.flights import HEADER, TOML, picture, picture_flight, write_picture
from tilefix.camera import CameraModel, Mount
from tilefix.errors import FlightError
from tilefix.flights.flight import FlightRow, open_flight
from tilefix.flights.writer import FlightWriter
from tilefix.pictures import picture_size, read_picture
from tilefix.types import VehicleState


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound flight folder, whose log or flight.toml a test replaces."""
    return picture_flight(tmp_path_factory.mktemp("flight"), count=6)


def _maybe(low: float, high: float) -> st.SearchStrategy[float | None]:
    return st.none() | st.floats(low, high)


@st.composite
def flights(draw: st.DrawFn) -> list[FlightRow]:
    # Thirty years: beyond, a float no longer tells microseconds apart.
    times = draw(st.lists(st.integers(0, 10**15), min_size=1, max_size=6, unique=True).map(sorted))
    rows = []
    for k, micros in enumerate(times):
        time_s = micros * 1e-6
        roll, pitch, yaw = draw(st.tuples(_maybe(-180, 180), _maybe(-180, 180), _maybe(-360, 360)))
        state = VehicleState(round(time_s * 1e9), roll, pitch, yaw, draw(_maybe(-1000, 20000)))
        truth = draw(st.none() | st.tuples(st.floats(-90, 90), st.floats(-180, 180)))
        rows.append(FlightRow(f"f{k}.png", time_s, state, truth))
    return rows


@given(flights(), st.floats(10, 1e5), st.floats(-360, 360))
@settings(max_examples=60, deadline=None)
def test_a_written_flight_is_read_back_exactly(rows: list[FlightRow], focal: float, pitch_deg: float) -> None:
    camera = CameraModel(64, 48, focal, focal, 31.0, 24.0, (focal * 1e-6, 0.0, 0.0, 0.0, 0.0))
    mount = Mount(0.0, pitch_deg, 0.0)
    with tempfile.TemporaryDirectory() as name:
        for row in rows:
            write_picture(Path(name) / row.frame, picture(0))
        with FlightWriter(Path(name), frames="*.png", camera=camera, mount=mount) as writer:
            for row in rows:
                writer.add(row)
        flight = open_flight(Path(name))
    assert list(flight.rows) == rows
    assert (flight.camera, flight.mount) == (camera, mount)


def _opens_or_is_refused(folder: Path) -> None:
    times: list[int] = []
    with contextlib.suppress(FlightError):
        times = [row.state.at_ns for row in open_flight(folder).rows]
    assert times == sorted(set(times))


cells = st.sampled_from(
    [
        "",
        "0",
        "1.5",
        "-3",
        "f0.png",
        "f1.png",
        "nan",
        "inf",
        "1e400",
        "0x10",
        "1_0",
        "१",
        '"',
        '"a,b"',
        "\x00",
        "\r",
        "é",
    ]
)
lines = st.lists(cells, min_size=1, max_size=9).map(",".join)


@given(st.booleans(), st.lists(lines, max_size=4).map("\n".join))
@settings(max_examples=150, deadline=None)
def test_any_log_opens_or_is_refused(folder: Path, header: bool, body: str) -> None:
    (folder / "flight.toml").write_text(TOML.format(frames="photo/*.png", width=64, height=48))
    (folder / "log.csv").write_text((HEADER if header else "") + body, encoding="utf-8", newline="")
    _opens_or_is_refused(folder)


@given(st.binary(max_size=300))
@settings(max_examples=80, deadline=None)
def test_any_bytes_as_log_or_toml_open_or_are_refused(folder: Path, data: bytes) -> None:
    (folder / "flight.toml").write_text(TOML.format(frames="photo/*.png", width=64, height=48))
    (folder / "log.csv").write_bytes(HEADER.encode() + data)
    _opens_or_is_refused(folder)
    (folder / "flight.toml").write_bytes(data)
    _opens_or_is_refused(folder)


values = st.sampled_from(
    ["1", "-1", "1e308", "nan", "inf", "true", '"x"', '""', '"../../*"', '"/"', '"**"', '"\\u0000"', "[1,2,3,4,5]"]
)
keys = st.sampled_from(
    [
        "frames",
        "log",
        "camera",
        "mount",
        "width",
        "height",
        "hfov_deg",
        "fx",
        "fy",
        "cx",
        "cy",
        "distortion",
        "roll_deg",
        "mount.yaw_deg",
        "camera.width",
    ]
)
toml_lines = st.one_of(
    st.tuples(keys, values).map(" = ".join), st.sampled_from(["[camera]", "[mount]", "[[camera]]", "[frames]", "# x"])
)


@given(st.lists(toml_lines, max_size=12).map("\n".join))
@settings(max_examples=200, deadline=None)
def test_any_toml_opens_or_is_refused(folder: Path, text: str) -> None:
    (folder / "flight.toml").write_text(text)
    _opens_or_is_refused(folder)


@given(st.sampled_from([".png", ".jpg"]), st.data())
@settings(max_examples=100, deadline=None)
def test_a_damaged_picture_is_read_or_refused(suffix: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / f"x{suffix}"
        write_picture(path, picture(90))
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content)
        with contextlib.suppress(FlightError):
            width, height = picture_size(path)
            assert read_picture(path).shape == (height, width, 3)
