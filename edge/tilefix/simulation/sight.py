"""A simulated camera as a `FrameSource`: shows the ground below a simulated vehicle, at its own pace."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tilefix.camera import CameraModel, Mount
from tilefix.geodesy import Grid
from tilefix.maps.terrain import Terrain
from tilefix.ports import Clock
from tilefix.simulation.camera import Exposure, expose, render_view
from tilefix.simulation.noise import rng_for
from tilefix.simulation.vehicle import Motion
from tilefix.types import Frame, UInt8Array


@dataclass(frozen=True, eq=False)
class Scenery:
    """What lies below: imagery uint8 (H, W, 3) RGB on its grid, and its hills, above the plane that the vehicle's
    `agl_m` counts from."""

    pixels: UInt8Array
    grid: Grid
    terrain: Terrain | None = None


def picture_of(
    scenery: Scenery, camera: CameraModel, mount: Mount, motion: Motion, exposure: Exposure, seed: int, sequence: int
) -> UInt8Array:
    """What the camera of a vehicle in that motion delivers; noise is drawn from `seed` and `sequence`."""
    view = render_view(
        scenery.pixels,
        scenery.grid,
        camera,
        mount,
        motion.east_m,
        motion.north_m,
        motion.agl_m,
        motion.roll_deg,
        motion.pitch_deg,
        motion.yaw_deg,
        terrain=scenery.terrain,
    )
    return expose(view, exposure, rng_for(seed, "picture", sequence))


class SimulatedCamera:
    """`tilefix.ports.FrameSource`: a picture every 1/`rate_hz` seconds; those that nobody read in time are lost."""

    def __init__(
        self,
        scenery: Scenery,
        camera: CameraModel,
        mount: Mount,
        truth_at: Callable[[int], Motion],
        clock: Clock,
        *,
        rate_hz: float,
        seed: int,
        exposure: Exposure | None = None,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """`truth_at`: the vehicle's motion at an instant of `clock` up to now."""
        self._scenery, self._camera, self._mount = scenery, camera, mount
        self._truth_at, self._clock, self._wait = truth_at, clock, wait
        self._period_ns = round(1e9 / rate_hz)
        self._seed = seed
        self._exposure = exposure or Exposure()
        self._first_ns = clock.now_ns()
        self._next = 0
        self._closed = False

    @property
    def exhausted(self) -> bool:
        """True once closed."""
        return self._closed

    def read(self, timeout_s: float) -> Frame | None:
        """The next picture, waiting for its exposure at most `timeout_s`; of several that are due, the newest."""
        now_ns = self._clock.now_ns()
        self._next = max(self._next, (now_ns - self._first_ns) // self._period_ns)
        due_ns = self._first_ns + self._next * self._period_ns
        if due_ns > now_ns:
            self._wait(min(timeout_s, (due_ns - now_ns) / 1e9))
        if self._closed or self._clock.now_ns() < due_ns:
            return None
        sequence = self._next
        self._next += 1
        motion = self._truth_at(due_ns)
        image = picture_of(self._scenery, self._camera, self._mount, motion, self._exposure, self._seed, sequence)
        return Frame(image, due_ns, sequence)

    def close(self) -> None:
        """Ends it; may be called twice."""
        self._closed = True
