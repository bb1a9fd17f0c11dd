"""A live camera: a thread reads it so that the newest frame is always at hand, and opens it again when it vanishes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from tilefix.cameras.conform import conform
from tilefix.errors import CameraError
from tilefix.ports import Clock
from tilefix.types import Frame, UInt8Array

_logger = logging.getLogger(__name__)
# A camera is opened again after these waits, then after the last one each time.
RETRY_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_JOIN_S = 5.0


class Capture(Protocol):
    """An open camera."""

    def grab(self) -> tuple[UInt8Array, int | None] | None:
        """The next picture (uint8 RGB) and when its exposure was in monotonic ns, if the camera knows; `None` when
        the camera failed. Waits for the picture, but not for ever."""
        ...

    def release(self) -> None:
        """Gives the camera back."""
        ...


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """`name`: for messages. `width`, `height`: of the frames to give. `latency_ns`: from exposure to arrival."""

    name: str
    width: int
    height: int
    latency_ns: int = 0


class LiveCamera:
    """`tilefix.ports.FrameSource` over a camera that `opener` opens (`None`: it is not there now)."""

    exhausted = False

    def __init__(self, opener: Callable[[], Capture | None], settings: LiveSettings, clock: Clock) -> None:
        self._opener = opener
        self._settings = settings
        self._clock = clock
        self._fresh = threading.Condition()
        self._newest: Frame | None = None
        self._sequence = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
        self._thread.start()

    def read(self, timeout_s: float) -> Frame | None:
        """The newest frame not yet given, or `None` when none came within `timeout_s`."""
        with self._fresh:
            self._fresh.wait_for(lambda: self._newest is not None or self._stop.is_set(), timeout_s)
            frame, self._newest = self._newest, None
            return frame

    def close(self) -> None:
        """Stops the thread and gives the camera back."""
        self._stop.set()
        with self._fresh:
            self._newest = None
            self._fresh.notify_all()
        if self._thread is not threading.current_thread():
            # A driver that hangs in a read must not keep the process from ending: the thread is a daemon.
            self._thread.join(_JOIN_S)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            gave = self._session()
            failures = 0 if gave else failures + 1
            wait_s = RETRY_S[min(failures, len(RETRY_S) - 1)]
            if not self._stop.is_set() and failures < len(RETRY_S):
                _logger.warning("camera %s is gone, tried again in %g s", self._settings.name, wait_s)
            self._stop.wait(wait_s)

    def _session(self) -> bool:
        """Opens the camera and reads it until it fails; True when it gave at least one frame."""
        capture: Capture | None = None
        gave = False
        try:
            capture = self._opener()
            while capture is not None and not self._stop.is_set():
                grabbed = capture.grab()
                if grabbed is None:
                    break
                self._offer(*grabbed)
                gave = True
        except CameraError as error:
            _logger.error("%s", error)
        except Exception:
            # A driver may raise anything, and whatever it is, the flight goes on and the camera is tried again.
            _logger.exception("camera %s failed", self._settings.name)
        finally:
            if capture is not None:
                capture.release()
        return gave

    def _offer(self, image: UInt8Array, exposed_ns: int | None) -> None:
        settings = self._settings
        captured_ns = self._clock.now_ns() if exposed_ns is None else exposed_ns
        fitting = conform(image, settings.width, settings.height, settings.name)
        with self._fresh:
            self._newest = Frame(fitting, captured_ns - settings.latency_ns, self._sequence)
            self._sequence += 1
            self._fresh.notify_all()
