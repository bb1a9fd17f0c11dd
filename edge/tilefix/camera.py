"""Camera geometry: intrinsics, mount and the view of flat ground.

Axes: camera x right, y down in the picture, z along the optical axis; body forward-right-down; world
north-east-down. With a mount of all zeros the camera looks straight down and the picture's top points to the nose.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tilefix.types import Float64Array


@dataclass(frozen=True, slots=True)
class CameraModel:
    """A pinhole camera with Brown-Conrady distortion (OpenCV's k1 k2 p1 p2 k3). Pixels."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if self.width < 16 or self.height < 16 or self.width > 32768 or self.height > 32768:
            raise ValueError(f"camera picture of {self.width} x {self.height} px: each side must be 16 to 32768")
        if not (self.fx > 0.0 and self.fy > 0.0):
            raise ValueError(f"camera focal lengths {self.fx}, {self.fy} px must be positive")

    @classmethod
    def from_hfov(
        cls,
        width: int,
        height: int,
        hfov_deg: float,
        distortion: tuple[float, float, float, float, float] = (0.0, 0.0, 0.0, 0.0, 0.0),
    ) -> CameraModel:
        """Square pixels, centred, with that horizontal field of view."""
        if not 1.0 <= hfov_deg <= 170.0:
            raise ValueError(f"hfov_deg {hfov_deg} must be 1 to 170")
        focal = 0.5 * width / math.tan(math.radians(hfov_deg) / 2.0)
        return cls(width, height, focal, focal, (width - 1) / 2.0, (height - 1) / 2.0, distortion)

    def scaled_to(self, width: int, height: int) -> CameraModel:
        """The same lens on a picture resized to `width` x `height` (pixel centres kept)."""
        sx, sy = width / self.width, height / self.height
        return CameraModel(
            width,
            height,
            self.fx * sx,
            self.fy * sy,
            (self.cx + 0.5) * sx - 0.5,
            (self.cy + 0.5) * sy - 0.5,
            self.distortion,
        )

    @property
    def matrix(self) -> Float64Array:
        """The 3 x 3 intrinsic matrix."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])


@dataclass(frozen=True, slots=True)
class Mount:
    """How the camera sits in the body. Positive pitch looks ahead of straight down."""

    roll_deg: float = 0.0
    pitch_deg: float = 0.0
    yaw_deg: float = 0.0


def rotation_deg(roll_deg: float, pitch_deg: float, yaw_deg: float) -> Float64Array:
    """The 3 x 3 rotation Rz(yaw) Ry(pitch) Rx(roll) from body to north-east-down."""
    r, p, y = math.radians(roll_deg), math.radians(pitch_deg), math.radians(yaw_deg)
    cr, sr, cp, sp, cy, sy = math.cos(r), math.sin(r), math.cos(p), math.sin(p), math.cos(y), math.sin(y)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


# Camera axes in a body that it looks straight down from: x right = body right, y down = body back, z = body down.
_CAMERA_IN_BODY = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def camera_to_ned(roll_deg: float, pitch_deg: float, yaw_deg: float, mount: Mount) -> Float64Array:
    """The 3 x 3 rotation from camera axes to north-east-down."""
    body = rotation_deg(roll_deg, pitch_deg, yaw_deg)
    seat = rotation_deg(mount.roll_deg, mount.pitch_deg, mount.yaw_deg)
    return np.asarray(body @ seat @ _CAMERA_IN_BODY)


# From a carrier that the camera looks straight down from to a gimbal's own axes, x along the optical axis.
_DOWN_IN_GIMBAL = rotation_deg(0.0, 90.0, 0.0)


def carrier_deg(gimbal: Float64Array) -> tuple[float, float, float]:
    """(roll, pitch, yaw) of a body that would hold the camera as a gimbal does, with a mount of zeros.

    `gimbal`: 3 x 3 rotation from the gimbal's axes (x along the optical axis, y right, z down) to north-east-down, or
    to any level frame, which the yaw then counts from. A gimbal pitched -90 degrees gives a level body.
    """
    r = gimbal @ _DOWN_IN_GIMBAL
    return (
        math.degrees(math.atan2(r[2, 1], r[2, 2])),
        math.degrees(math.asin(max(-1.0, min(1.0, -float(r[2, 0]))))),
        math.degrees(math.atan2(r[1, 0], r[0, 0])),
    )


def rotation_of(w: float, x: float, y: float, z: float) -> Float64Array:
    """The 3 x 3 rotation of a quaternion of any length but zero."""
    n = w * w + x * x + y * y + z * z
    return (
        np.array(
            [
                [n - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)],
                [2.0 * (x * y + w * z), n - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)],
                [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), n - 2.0 * (x * x + y * y)],
            ]
        )
        / n
    )


def ground_to_pixel(camera: CameraModel, to_ned: Float64Array, agl_m: float) -> Float64Array:
    """Homography from ground offsets (east_m, north_m, 1) below the camera to undistorted pixels.

    Flat ground `agl_m` below. The third output coordinate is positive for ground in front of the camera.
    """
    ground_to_ned = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, agl_m]])
    return np.asarray(camera.matrix @ to_ned.T @ ground_to_ned)
