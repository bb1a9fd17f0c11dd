"""Cameras beyond their contract: what is refused, what ends, what comes back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from support.captures import HEIGHT, WIDTH, FakeVideoCapture, picture
from support.clocks import ManualClock
from support.rtsp import RtspServer
from tilefix.cameras import BACKENDS, CameraRequest, live, open_camera
from tilefix.cameras.capture import OpencvCapture, open_gstreamer, open_rtsp, open_v4l2
from tilefix.cameras.live import LiveCamera, LiveSettings
from tilefix.errors import CameraError
from tilefix.ports import FrameSource
from tilefix.timing import MonotonicClock
from tilefix.types import Frame

REQUEST = CameraRequest(WIDTH, HEIGHT, rate_hz=100.0)
CLOCK = MonotonicClock()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "RETRY_S", (0.001, 0.002))


def _video(path: Path, count: int = 30) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (WIDTH, HEIGHT))
    for index in range(count):
        writer.write(np.ascontiguousarray(picture(index)[:, :, ::-1]))
    writer.release()
    return path


def _all(source: FrameSource) -> list[Frame]:
    frames = []
    while not source.exhausted:
        frame = source.read(1.0)
        if frame is not None:
            frames.append(frame)
    source.close()
    return frames


def _eventually(source: FrameSource, wanted: Callable[[Frame], bool]) -> Frame:
    for _ in range(200):
        frame = source.read(0.1)
        if frame is not None and wanted(frame):
            return frame
    raise AssertionError("the frame never came")


@pytest.mark.parametrize("source", ["", "folder", "folder:", "/dev/video0", "webcam:0", "http://x/y"])
def test_what_is_no_camera_is_refused_with_the_choices(source: str) -> None:
    with pytest.raises(CameraError, match="v4l2:"):
        open_camera(source, REQUEST, CLOCK)


def test_the_table_names_every_scheme_of_the_docstring() -> None:
    assert set(BACKENDS) == {"folder", "video", "v4l2", "rtsp", "gstreamer", "unix"}


def test_a_folder_gives_each_picture_once_in_order_and_ends(tmp_path: Path) -> None:
    for index in (2, 0, 1):
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture(10 * index))
    (tmp_path / "notes.txt").write_text("not a picture")
    frames = _all(open_camera(f"folder:{tmp_path}", REQUEST, CLOCK))
    assert [int(frame.image[-1, 0, 0]) for frame in frames] == [0, 10, 20]
    assert [frame.sequence for frame in frames] == [0, 1, 2]


def test_a_broken_picture_amid_a_folder_is_skipped(tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture(10 * index))
    (tmp_path / "1.png").write_bytes(b"no picture")
    assert len(_all(open_camera(f"folder:{tmp_path}", REQUEST, CLOCK))) == 2


def test_a_file_is_paced_and_its_frames_dated_when_they_are_given(tmp_path: Path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), picture(0))
    clock = ManualClock()
    request = CameraRequest(WIDTH, HEIGHT, rate_hz=2.0, latency_ns=100_000_000)
    source = open_camera(f"folder:{tmp_path}", request, clock)
    first = source.read(0.0)
    assert first is not None
    assert first.captured_ns == clock.now_ns() - 100_000_000
    assert source.read(0.0) is None
    clock.advance_s(0.5)
    second = source.read(0.0)
    assert second is not None
    assert second.captured_ns - first.captured_ns == 500_000_000
    source.close()


def test_a_video_cut_in_the_middle_ends_clean(tmp_path: Path) -> None:
    path = _video(tmp_path / "whole.avi")
    cut = tmp_path / "cut.avi"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 0 < len(_all(open_camera(f"video:{cut}", REQUEST, CLOCK))) < 30
    assert len(_all(open_camera(f"video:{path}", REQUEST, CLOCK))) == 30


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("#EXTM3U\n/etc/passwd\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for source in ("video:text.mp4", "video:none.mp4", "folder:empty", "folder:none", "folder:broken"):
        with pytest.raises(CameraError):
            open_camera(source, CameraRequest(WIDTH, HEIGHT, base=tmp_path), CLOCK)


def test_another_size_of_the_same_shape_is_scaled_and_another_shape_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), picture(0))
    half = _all(open_camera(f"folder:{tmp_path}", CameraRequest(WIDTH // 2, HEIGHT // 2), CLOCK))
    assert half[0].image.shape == (HEIGHT // 2, WIDTH // 2, 3)
    with pytest.raises(CameraError, match="64 x 48 px"):
        open_camera(f"folder:{tmp_path}", CameraRequest(WIDTH, WIDTH), CLOCK)


def test_a_live_camera_gives_only_the_newest_frame() -> None:
    class Burst:
        def __init__(self) -> None:
            self.left = 5
            self.done = threading.Event()

        def grab(self) -> tuple[np.ndarray, int | None] | None:
            if self.left == 0:
                self.done.set()
                threading.Event().wait(0.01)
                return None
            self.left -= 1
            return picture(self.left), 5 - self.left

        def release(self) -> None:
            pass

    burst = Burst()
    opened = iter([burst])
    camera = LiveCamera(lambda: next(opened, None), LiveSettings("test", WIDTH, HEIGHT, latency_ns=1), CLOCK)
    assert burst.done.wait(5.0)
    newest = camera.read(1.0)
    assert newest is not None
    assert (newest.captured_ns, newest.sequence, int(newest.image[-1, 0, 0])) == (5 - 1, 4, 0)
    assert camera.read(0.0) is None
    assert not camera.exhausted
    camera.close()


@pytest.mark.usefixtures("quick")
def test_a_camera_that_vanishes_is_opened_again() -> None:
    captures = [FakeVideoCapture([picture(1)]), FakeVideoCapture([], opened=False), FakeVideoCapture([picture(2)])]
    waiting = iter(list(captures))
    source = open_v4l2("0", REQUEST, CLOCK, lambda *_: next(waiting, FakeVideoCapture([], opened=False)))
    _eventually(source, lambda frame: int(frame.image[-1, 0, 0]) == 2)
    source.close()
    assert all(capture.released for capture in captures)


@pytest.mark.usefixtures("quick")
def test_a_driver_that_raises_or_changes_its_shape_is_tried_again() -> None:
    class Raising(FakeVideoCapture):
        def grab(self) -> bool:
            raise RuntimeError("driver")

    square = np.zeros((WIDTH, WIDTH, 3), np.uint8)
    waiting = iter([Raising([]), FakeVideoCapture([square]), FakeVideoCapture([picture(3)])])
    source = open_v4l2("0", REQUEST, CLOCK, lambda *_: next(waiting, FakeVideoCapture([], opened=False)))
    _eventually(source, lambda frame: int(frame.image[-1, 0, 0]) == 3)
    source.close()


def test_the_waits_between_attempts_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    enough = threading.Event()
    camera = LiveCamera(lambda: None, LiveSettings("test", WIDTH, HEIGHT), CLOCK)
    camera.close()

    class Stop:
        def is_set(self) -> bool:
            return enough.is_set()

        def wait(self, seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 6:
                enough.set()

    monkeypatch.setattr(camera, "_stop", Stop())
    camera._run()
    assert waits == [0.5, 1.0, 2.0, 5.0, 5.0, 5.0]


def test_v4l2_is_asked_for_the_size_and_its_monotonic_stamps_are_taken() -> None:
    asked: list[object] = []

    def make(*arguments: object) -> FakeVideoCapture:
        asked.append(arguments)
        return FakeVideoCapture([picture(0)])

    source = open_v4l2("2", REQUEST, CLOCK, make)
    assert source.read(5.0) is not None
    source.close()
    device, api, parameters = asked[0]
    assert (device, api) == (2, cv2.CAP_V4L2)
    pairs = dict(zip(parameters[::2], parameters[1::2], strict=True))
    assert (pairs[cv2.CAP_PROP_FRAME_WIDTH], pairs[cv2.CAP_PROP_FRAME_HEIGHT]) == (WIDTH, HEIGHT)

    clock = ManualClock(10_000_000_000)
    fresh = OpencvCapture(FakeVideoCapture([picture(0)], stamp_ms=9_950.0), clock).grab()
    other = OpencvCapture(FakeVideoCapture([picture(0)], stamp_ms=33.0), clock).grab()
    ahead = OpencvCapture(FakeVideoCapture([picture(0)], stamp_ms=1e12), clock).grab()
    assert fresh is not None
    assert other is not None
    assert ahead is not None
    assert (fresh[1], other[1], ahead[1]) == (9_950_000_000, 10_000_000_000, 10_000_000_000)


def test_a_capture_that_gives_no_colour_picture_has_failed() -> None:
    capture = FakeVideoCapture([picture(0)])
    capture.retrieve = lambda: (True, np.zeros((4, 4), np.uint8))  # type: ignore[method-assign]
    assert OpencvCapture(capture).grab() is None


def test_gstreamer_needs_an_opencv_that_has_it_and_an_appsink() -> None:
    with pytest.raises(CameraError, match="appsink"):
        open_gstreamer("videotestsrc ! fakesink", REQUEST, CLOCK)
    if cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        pytest.skip("this OpenCV has GStreamer")
    with pytest.raises(CameraError, match="JetPack"):
        open_camera("gstreamer:videotestsrc ! appsink", REQUEST, CLOCK)


def test_rtsp_needs_an_address() -> None:
    for place in ("", "stream", "//"):
        with pytest.raises(CameraError):
            open_rtsp(place, REQUEST, CLOCK)


@pytest.mark.usefixtures("quick")
def test_an_rtsp_camera_that_hangs_up_is_connected_again() -> None:
    with RtspServer([picture(0)] * 80, hang_up=True, pace_s=0.005) as server:
        source = open_camera(server.url, REQUEST, CLOCK)
        _eventually(source, lambda _: server.connections >= 2)
        source.close()
