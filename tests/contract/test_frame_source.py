"""What every camera keeps: the contract of `tilefix.ports.FrameSource`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest

from support.captures import HEIGHT, WIDTH, FakeVideoCapture, FrameSender, picture
from support.rtsp import RtspServer
from tilefix.cameras import CameraRequest, open_camera
from tilefix.cameras.capture import open_gstreamer, open_v4l2
from tilefix.ports import FrameSource
from tilefix.timing import MonotonicClock
from tilefix.types import Frame

CLOCK = MonotonicClock()
REQUEST = CameraRequest(WIDTH, HEIGHT, rate_hz=100.0)
COUNT = 40
# Frames of live cameras come when they come: this only bounds a failing test.
PATIENCE_S = 20.0

Opener = Callable[[Path, ExitStack], FrameSource]


def _folder(folder: Path, _: ExitStack) -> FrameSource:
    for index in range(COUNT):
        cv2.imwrite(str(folder / f"{index:03d}.png"), picture(index)[:, :, ::-1])
    return open_camera(f"folder:{folder}", REQUEST, CLOCK)


def _video(folder: Path, _: ExitStack) -> FrameSource:
    path = folder / "flight.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (WIDTH, HEIGHT))
    for index in range(COUNT):
        writer.write(np.ascontiguousarray(picture(index)[:, :, ::-1]))
    writer.release()
    return open_camera("video:flight.avi", CameraRequest(WIDTH, HEIGHT, rate_hz=100.0, base=folder), CLOCK)


def _v4l2(_: Path, __: ExitStack) -> FrameSource:
    return open_v4l2("/dev/video0", REQUEST, CLOCK, lambda *_: FakeVideoCapture([picture(i) for i in range(COUNT)]))


def _gstreamer(_: Path, __: ExitStack) -> FrameSource:
    pipeline = "videotestsrc ! videoconvert ! appsink"
    return open_gstreamer(pipeline, REQUEST, CLOCK, lambda *_: FakeVideoCapture([picture(i) for i in range(COUNT)]))


def _rtsp(_: Path, stack: ExitStack) -> FrameSource:
    server = stack.enter_context(RtspServer([picture(i) for i in range(COUNT)] * 3))
    return open_camera(server.url, REQUEST, CLOCK)


def _unix(folder: Path, stack: ExitStack) -> FrameSource:
    stack.enter_context(FrameSender(folder / "camera.sock", [picture(i) for i in range(COUNT)]))
    return open_camera("unix:camera.sock", CameraRequest(WIDTH, HEIGHT, rate_hz=100.0, base=folder), CLOCK)


@pytest.fixture(params=[_folder, _video, _v4l2, _gstreamer, _rtsp, _unix], ids=lambda opener: opener.__name__[1:])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FrameSource]:
    opener: Opener = request.param
    with ExitStack() as stack:
        opened = opener(tmp_path, stack)
        stack.callback(opened.close)
        yield opened


def _frames(source: FrameSource, count: int) -> list[Frame]:
    frames: list[Frame] = []
    deadline_ns = CLOCK.now_ns() + round(PATIENCE_S * 1e9)
    while len(frames) < count:
        assert CLOCK.now_ns() < deadline_ns, f"only {len(frames)} frames came"
        frame = source.read(0.5)
        if frame is not None:
            frames.append(frame)
    return frames


def test_frames_are_rgb_in_the_asked_size_with_growing_stamps(source: FrameSource) -> None:
    begun_ns = CLOCK.now_ns()
    frames = _frames(source, 5)
    ended_ns = CLOCK.now_ns()
    for frame in frames:
        assert frame.image.shape == (HEIGHT, WIDTH, 3)
        assert frame.image.dtype == np.uint8
        red, blue = frame.image[HEIGHT // 4, WIDTH // 4], frame.image[HEIGHT // 4, 3 * WIDTH // 4]
        assert red[0] > 180
        assert red[2] < 80
        assert blue[2] > 180
        assert blue[0] < 80
        # A live camera's thread may have read its first frame before this test looked at the clock.
        assert begun_ns - 5_000_000_000 <= frame.captured_ns <= ended_ns
    stamps = [frame.captured_ns for frame in frames]
    assert stamps == sorted(stamps)
    sequence = [frame.sequence for frame in frames]
    assert all(later > earlier for earlier, later in itertools.pairwise(sequence))


def test_a_read_without_patience_gives_a_frame_or_none(source: FrameSource) -> None:
    for _ in range(20):
        frame = source.read(0.0)
        assert frame is None or frame.image.shape == (HEIGHT, WIDTH, 3)


def test_a_closed_camera_gives_nothing_and_may_be_closed_again(source: FrameSource) -> None:
    _frames(source, 1)
    source.close()
    source.close()
    assert source.read(0.01) is None
