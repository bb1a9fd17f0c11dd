"""Camera frame, attitude and height in; a north-up picture of the ground as seen from straight above out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from tilefix.camera import CameraModel, Mount, camera_to_ned, ground_to_pixel
from tilefix.maps.terrain import Relief
from tilefix.types import BoolArray, Float32Array, Float64Array, UInt8Array


@dataclass(frozen=True, slots=True)
class View:
    """One frame's geometry over the plane of the ground below: attitude known, height known.

    `corners_m`: (4, 2) east and north offsets from the point below the camera of the picture's corners, in the
    order top left, top right, bottom right, bottom left, on that plane. `relief`: the ground's shape, where known;
    without it the ground is taken to be the plane.
    """

    to_ned: Float64Array
    agl_m: float
    corners_m: Float64Array
    relief: Relief | None = None

    def over(self, agl_m: float, relief: Relief | None) -> View:
        """The same attitude over other ground."""
        return View(self.to_ned, agl_m, self.corners_m * (agl_m / self.agl_m), relief)

    @property
    def centre_m(self) -> tuple[float, float]:
        """East and north offset of the footprint's bounding square from the point below the camera."""
        low, high = self.corners_m.min(axis=0), self.corners_m.max(axis=0)
        return float(0.5 * (low[0] + high[0])), float(0.5 * (low[1] + high[1]))

    @property
    def extent_m(self) -> float:
        """Side of the north-up square that holds the footprint."""
        return float((self.corners_m.max(axis=0) - self.corners_m.min(axis=0)).max())

    @property
    def area_m2(self) -> float:
        """Ground area in view (shoelace formula)."""
        x, y = self.corners_m[:, 0], self.corners_m[:, 1]
        return float(0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))))


@dataclass(frozen=True, slots=True)
class Patch:
    """North-up nadir picture of ground. `image`: uint8 (n, n, 3) RGB, or (n, n) of a frame prepared in grey; `mask`:
    bool (n, n), True where it shows ground.

    `east_m`, `north_m`: offset of its centre from the point below the camera.
    """

    image: UInt8Array
    mask: BoolArray
    gsd_m: float
    east_m: float
    north_m: float


class Rectifier:
    """Rectifies the frames of one camera. Keeps the undistortion tables; holds no other state."""

    def __init__(self, camera: CameraModel, mount: Mount) -> None:
        self.camera = camera
        self.mount = mount
        self._undistort = None
        if any(camera.distortion):
            self._undistort = cv2.initUndistortRectifyMap(
                camera.matrix,
                np.array(camera.distortion),
                np.eye(3),
                camera.matrix,
                (camera.width, camera.height),
                cv2.CV_16SC2,
            )

    def view(self, roll_deg: float, pitch_deg: float, yaw_deg: float, agl_m: float) -> View | None:
        """The frame's geometry; `None` when a corner of the picture looks at or near the horizon."""
        to_ned = camera_to_ned(roll_deg, pitch_deg, yaw_deg, self.mount)
        c = self.camera
        pixels = np.array(
            [
                [-0.5, -0.5, 1.0],
                [c.width - 0.5, -0.5, 1.0],
                [c.width - 0.5, c.height - 0.5, 1.0],
                [-0.5, c.height - 0.5, 1.0],
            ]
        )
        rays = pixels @ np.linalg.inv(c.matrix).T @ to_ned.T
        down = rays[:, 2] / np.linalg.norm(rays, axis=1)
        if down.min() < math.sin(math.radians(MIN_DEPRESSION_DEG)):
            return None
        ground = rays / rays[:, 2:] * agl_m
        return View(to_ned, agl_m, np.stack([ground[:, 1], ground[:, 0]], axis=1))

    def tilt_deg(self, roll_deg: float, pitch_deg: float) -> float:
        """Angle between the optical axis and straight down."""
        axis = camera_to_ned(roll_deg, pitch_deg, 0.0, self.mount)[2, 2]
        return math.degrees(math.acos(max(-1.0, min(1.0, float(axis)))))

    def prepare(self, image: UInt8Array, agl_m: float, gsd_m: float, *, grey: bool = False) -> PreparedFrame:
        """The frame undistorted and reduced to about `gsd_m`, so that every patch cut from it costs little; on request
        in grey, in half the time."""
        if image.shape[:2] != (self.camera.height, self.camera.width):
            raise ValueError(
                f"frame is {image.shape[1]} x {image.shape[0]} px, camera {self.camera.width} x {self.camera.height}"
            )
        if grey and image.ndim == 3:
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        elif not grey and image.ndim == 2:
            image = np.repeat(image[:, :, None], 3, axis=2)
        inside = None
        if self._undistort is not None:
            image = np.asarray(cv2.remap(image, *self._undistort, cv2.INTER_LINEAR), dtype=np.uint8)
            white = np.full(image.shape[:2], 255, np.uint8)
            inside = np.asarray(cv2.remap(white, *self._undistort, cv2.INTER_NEAREST), dtype=np.uint8)
        return self._reduce(image, inside, agl_m, gsd_m)

    def finer(self, prepared: PreparedFrame, agl_m: float, gsd_m: float) -> PreparedFrame:
        """A frame that was prepared here, prepared for another sampling: undistorted and grey it is already."""
        if prepared.whole is None:
            raise ValueError("the frame was not prepared by a rectifier")
        return self._reduce(*prepared.whole, agl_m, gsd_m)

    def _reduce(self, whole: UInt8Array, inside: UInt8Array | None, agl_m: float, gsd_m: float) -> PreparedFrame:
        # Area averaging to just below the wanted sampling leaves the warp little to alias.
        shrink = min(1.0, agl_m / self.camera.fx / gsd_m * 1.25)
        width, height = max(16, round(whole.shape[1] * shrink)), max(16, round(whole.shape[0] * shrink))
        camera, image, shown = self.camera, whole, inside
        if (width, height) != (camera.width, camera.height):
            image = _reduced(whole, width, height)
            camera = camera.scaled_to(width, height)
        if shown is None:
            shown = np.full((height, width), 255, np.uint8)
        elif shown.shape != (height, width):
            shown = np.asarray(cv2.resize(shown, (width, height), interpolation=cv2.INTER_NEAREST), dtype=np.uint8)
        return PreparedFrame(image, shown, camera, (whole, inside))


def _reduced(image: UInt8Array, width: int, height: int) -> UInt8Array:
    """The picture area-averaged to that size. Halves come first while four or more pixels make one: OpenCV has a quick
    way for whole steps, and averages of averages differ from those at once by rounding alone."""
    while image.shape[1] >= 4 * width and image.shape[0] >= 4 * height:
        if image.shape[0] % 2 or image.shape[1] % 2:
            break
        half = (image.shape[1] // 2, image.shape[0] // 2)
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


# Every so many pixels of a patch the ground's height is looked up, linear between.
_NODE_PX = 8


def _nodes(size_px: int) -> Float64Array:
    """Pixel positions of the nodes: `_NODE_PX` apart, one before the first pixel and one behind the last."""
    count = math.ceil(size_px / _NODE_PX) + 2
    return np.asarray(_NODE_PX * (np.arange(count) - 0.5) - 0.5, dtype=np.float64)


def _over_relief(
    to_pixel: Float64Array, up: Float64Array, above_m: Float64Array, size_px: int
) -> tuple[Float32Array, Float32Array]:
    """Where each pixel of a patch lies in the picture: (columns, rows), float32 (size_px, size_px).

    `to_pixel`: homography from the patch on the plane; `up`: what a metre of height takes off its homogeneous result;
    `above_m`: heights above the plane on the nodes. Behind the camera: far outside the picture.
    """
    nodes = above_m.shape[0]
    side = _NODE_PX * nodes
    # OpenCV's resize puts node i at pixel 8 i + 3.5 of its result: the patch begins 8 pixels in.
    dense = cv2.resize(above_m.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    height = dense[_NODE_PX : _NODE_PX + size_px, _NODE_PX : _NODE_PX + size_px]
    along = np.arange(size_px, dtype=np.float32)
    x, y, w = (
        (np.float32(a) * along)[None, :] + (np.float32(b) * along + np.float32(c))[:, None] - np.float32(u) * height
        for (a, b, c), u in zip(to_pixel, up, strict=True)
    )
    seen = w > 1e-3 * abs(float(to_pixel[2, 2]))
    w = np.where(seen, w, np.float32(1.0))
    outside = np.float32(-1e4)
    return np.where(seen, x / w, outside), np.where(seen, y / w, outside)


# A ray flatter than this sees ground so far away that a degree of attitude error moves it by half its distance.
MIN_DEPRESSION_DEG = 15.0


@dataclass(frozen=True, slots=True)
class PreparedFrame:
    """A frame ready to be cut into patches: undistorted, reduced. `inside`: 255 where the picture has content.

    `whole`: both as they were before they were reduced, where a rectifier made it; no mask where all has content.
    """

    image: UInt8Array
    inside: UInt8Array
    camera: CameraModel
    whole: tuple[UInt8Array, UInt8Array | None] | None = None

    def without(self, hidden: BoolArray) -> PreparedFrame:
        """The same where a part, of the reduced picture, shows no ground: at every sampling."""
        inside = np.where(hidden, np.uint8(0), self.inside)
        if self.whole is None:
            return replace(self, inside=inside)
        image, whole = self.whole
        size = (image.shape[1], image.shape[0])
        shown = np.asarray(
            cv2.resize(np.where(hidden, np.uint8(0), np.uint8(255)), size, interpolation=cv2.INTER_NEAREST)
        )
        return replace(
            self, inside=inside, whole=(image, np.asarray(shown if whole is None else shown & whole, np.uint8))
        )

    def patch(
        self,
        view: View,
        *,
        gsd_m: float,
        size_px: int,
        centre_m: tuple[float, float],
        turn_deg: float = 0.0,
        scale: float = 1.0,
    ) -> Patch:
        """The ground around `centre_m` (east, north of the point below the camera), north up.

        `turn_deg` adds to the heading and `scale` multiplies the height: both about the point below the camera,
        for trying out errors of the autopilot's heading and height. Over relief every pixel is taken from where the
        ground is at its height; what hides behind a hill shows the hill.
        """
        homography = ground_to_pixel(self.camera, view.to_ned, view.agl_m)
        half = 0.5 * (size_px - 1) * gsd_m
        east_m, north_m = centre_m
        to_ground = np.array([[gsd_m, 0.0, east_m - half], [0.0, -gsd_m, north_m + half], [0.0, 0.0, 1.0]])
        # A heading too small by `turn` shows north-up ground turned: undo it on the ground plane.
        turn = math.radians(turn_deg)
        c, s = math.cos(turn) / scale, math.sin(turn) / scale
        unturn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        to_pixel = homography @ unturn @ to_ground
        if view.relief is not None:
            easts = east_m - half + gsd_m * _nodes(size_px)
            norths = north_m + half - gsd_m * _nodes(size_px)
            above_m = view.relief.above_plane(*np.meshgrid(easts, norths))
            at = _over_relief(to_pixel, homography[:, 2] / (view.agl_m * scale), above_m, size_px)
            lifted = cv2.remap(self.image, *at, cv2.INTER_LINEAR)
            shown = cv2.remap(self.inside, *at, cv2.INTER_NEAREST)
            return Patch(np.asarray(lifted, dtype=np.uint8), np.asarray(shown > 127), gsd_m, east_m, north_m)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        image = cv2.warpPerspective(self.image, to_pixel, (size_px, size_px), flags=flags)
        mask = cv2.warpPerspective(
            self.inside, to_pixel, (size_px, size_px), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        )
        return Patch(np.asarray(image, dtype=np.uint8), np.asarray(mask > 127), gsd_m, east_m, north_m)
