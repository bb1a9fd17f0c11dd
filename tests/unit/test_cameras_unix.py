"""The camera behind a Unix socket: stamps, sizes, silence, and what is no picture."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from support.captures import HEIGHT, WIDTH, picture
from support.clocks import ManualClock
from tilefix.cameras import CameraRequest, open_camera, unixsocket
from tilefix.cameras.unixsocket import HEADER, JPEG, RGB, Header, SocketCapture, pack_header, parse_header
from tilefix.errors import CameraError
from tilefix.timing import MonotonicClock

S = 1_000_000_000


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(unixsocket, "_SILENCE_S", 0.2)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    clock = ManualClock(100 * S)
    capture = SocketCapture(theirs, clock)
    yield ours, capture, clock
    ours.close()
    capture.release()


def _rgb(image: np.ndarray, exposed_ns: int | None) -> bytes:
    body = image.tobytes()
    return pack_header(Header(RGB, image.shape[1], image.shape[0], len(body), exposed_ns)) + body


def test_a_raw_picture_comes_with_the_stamp_of_its_exposure(ends) -> None:
    ours, capture, clock = ends
    ours.sendall(_rgb(picture(7), clock.now_ns() - S // 5))
    image, exposed_ns = capture.grab()
    np.testing.assert_array_equal(image, picture(7))
    assert exposed_ns == clock.now_ns() - S // 5


def test_a_jpeg_comes_in_rgb(ends) -> None:
    ours, capture, _ = ends
    _, coded = cv2.imencode(".jpg", picture()[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    ours.sendall(pack_header(Header(JPEG, WIDTH, HEIGHT, len(coded), None)) + coded.tobytes())
    image, _ = capture.grab()
    assert image.shape == (HEIGHT, WIDTH, 3)
    assert image[5, 5, 0] > 200
    assert image[5, 5, 2] < 60


@pytest.mark.parametrize("exposed_ns", [None, 0, 94 * S, 101 * S])
def test_without_a_credible_stamp_a_picture_is_dated_on_arrival(ends, exposed_ns: int | None) -> None:
    ours, capture, clock = ends
    ours.sendall(_rgb(picture(), exposed_ns))
    assert capture.grab()[1] == clock.now_ns()


def test_a_picture_in_pieces_is_put_together(ends) -> None:
    ours, capture, clock = ends
    data = _rgb(picture(9), clock.now_ns()) + _rgb(picture(11), clock.now_ns())
    for at in range(0, len(data), 4099):
        ours.sendall(data[at : at + 4099])
    assert capture.grab()[0][-1, 0, 0] == 9
    assert capture.grab()[0][-1, 0, 0] == 11


def test_silence_and_a_sender_that_leaves_amid_a_picture_end_the_session(ends) -> None:
    ours, capture, clock = ends
    assert capture.grab() is None
    ours.sendall(_rgb(picture(), clock.now_ns())[:-1])
    ours.close()
    assert capture.grab() is None


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r",
        HEADER.pack(b"TFF1", 2, WIDTH, HEIGHT, 100, 0),
        HEADER.pack(b"TFF1", RGB, WIDTH, HEIGHT, 3 * WIDTH * HEIGHT + 1, 0),
        HEADER.pack(b"TFF1", RGB, 65535, 65535, 0, 0),
        HEADER.pack(b"TFF1", RGB, 0, 0, 0, 0),
        HEADER.pack(b"TFF1", JPEG, WIDTH, HEIGHT, 0, 0),
        HEADER.pack(b"TFF1", JPEG, WIDTH, HEIGHT, 1 << 31, 0),
    ],
)
def test_what_no_camera_sends_is_refused_before_anything_is_allocated(head: bytes) -> None:
    with pytest.raises(CameraError, match="pictures of this kind"):
        parse_header(head)


def test_every_header_survives_the_way() -> None:
    header = Header(RGB, 640, 480, 640 * 480 * 3, 123456789012345)
    assert parse_header(pack_header(header)) == header
    assert len(pack_header(header)) == 24
    assert struct.calcsize(HEADER.format) == 24


@pytest.mark.parametrize("body", [b"no picture", cv2.imencode(".jpg", np.zeros((32, 32, 3), np.uint8))[1].tobytes()])
def test_a_jpeg_that_is_none_or_of_another_size_is_refused(ends, body: bytes) -> None:
    ours, capture, _ = ends
    ours.sendall(pack_header(Header(JPEG, WIDTH, HEIGHT, len(body), None)) + body)
    with pytest.raises(CameraError, match="JPEG"):
        capture.grab()


def test_a_path_that_the_system_cannot_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="107 bytes"):
        open_camera("unix:" + "x" * 120, CameraRequest(WIDTH, HEIGHT, base=tmp_path), MonotonicClock())
