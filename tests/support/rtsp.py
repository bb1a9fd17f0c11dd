"""A small RTSP server on the loopback: one MPEG-TS stream as RTP payload type 33, interleaved in the TCP connection.

Sources: RFC 2326 (RTSP), RFC 3550 (RTP), RFC 2250 (MPEG-TS over RTP).
"""

from __future__ import annotations

import contextlib
import io
import socket
import struct
import threading
import time
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np

from tilefix.types import UInt8Array

RATE_HZ = 20
_TS_PACKETS_PER_RTP = 7


def transport_stream(pictures: list[UInt8Array]) -> list[bytes]:
    """The pictures (RGB) as MPEG-2 video in MPEG-TS, one piece of bytes per picture."""
    sink = io.BytesIO()
    pieces: list[bytes] = []
    with av.open(sink, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=RATE_HZ)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 4_000_000
        stream.gop_size = 1
        stream.max_b_frames = 0
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE_HZ)
            for packet in stream.encode(frame):
                container.mux(packet)
            pieces.append(sink.getvalue())
        for packet in stream.encode(None):
            container.mux(packet)
    pieces.append(sink.getvalue())
    starts = [0, *(len(piece) for piece in pieces[:-1])]
    return [pieces[-1][start : len(piece)] for start, piece in zip(starts, pieces, strict=True) if len(piece) > start]


class RtspServer:
    """Serves the stream to whoever connects, at its pace, then waits (`hang_up`: closes) until it is closed.

    `connections`: how many clients have asked for the stream.
    """

    def __init__(self, pictures: list[UInt8Array], *, hang_up: bool = False, pace_s: float = 1.0 / RATE_HZ) -> None:
        self._pieces = transport_stream(pictures)
        self._pace_s = pace_s
        self._hang_up = hang_up
        self._stop = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.1)
        self.connections = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self._server.getsockname()[1]}/stream"

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10.0)
        self._server.close()

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError):
                client, _ = self._server.accept()
                with client:
                    self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        client.settimeout(0.1)
        for request in self._requests(client):
            method, url, _ = request[0].split(" ")
            sequence = next(line for line in request if line.lower().startswith("cseq"))
            answer = ["RTSP/1.0 200 OK", sequence]
            body = ""
            if method == "OPTIONS":
                answer.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
            elif method == "DESCRIBE":
                body = (
                    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n"
                )
                answer += ["Content-Type: application/sdp", f"Content-Base: {url}/", f"Content-Length: {len(body)}"]
            elif method == "SETUP":
                answer += ["Session: 1", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"]
            elif method == "PLAY":
                answer.append("Session: 1")
            client.sendall(("\r\n".join(answer) + "\r\n\r\n" + body).encode())
            if method == "PLAY":
                self.connections += 1
                self._stream(client)
                if self._hang_up:
                    return
            if method == "TEARDOWN":
                return

    def _requests(self, client: socket.socket) -> Iterator[list[str]]:
        data = b""
        while not self._stop.is_set():
            try:
                piece = client.recv(4096)
            except TimeoutError:
                continue
            if not piece:
                return
            data += piece
            while b"\r\n\r\n" in data:
                head, data = data.split(b"\r\n\r\n", 1)
                yield head.decode().split("\r\n")

    def _stream(self, client: socket.socket) -> None:
        number = 0
        for index, piece in enumerate(self._pieces):
            for start in range(0, len(piece), 188 * _TS_PACKETS_PER_RTP):
                header = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, index * 90000 // RATE_HZ, 1)
                packet = header + piece[start : start + 188 * _TS_PACKETS_PER_RTP]
                client.sendall(b"$" + struct.pack(">BH", 0, len(packet)) + packet)
                number += 1
            if self._stop.is_set():
                return
            time.sleep(self._pace_s)
