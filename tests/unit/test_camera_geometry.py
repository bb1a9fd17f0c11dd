"""Camera rays against trigonometry done by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tilefix.camera import CameraModel, Mount, camera_to_ned, carrier_deg, ground_to_pixel, rotation_deg, rotation_of

CAMERA = CameraModel.from_hfov(640, 480, 60.0)


def ground_seen(pixel: tuple[float, float], roll: float, pitch: float, yaw: float, mount: Mount, agl: float):
    homography = np.linalg.inv(ground_to_pixel(CAMERA, camera_to_ned(roll, pitch, yaw, mount), agl))
    east, north, w = homography @ np.array([*pixel, 1.0])
    return east / w, north / w


CENTRE = (CAMERA.cx, CAMERA.cy)


@pytest.mark.parametrize(
    ("roll", "pitch", "yaw", "mount", "east", "north"),
    [
        (0, 0, 0, Mount(), 0.0, 0.0),
        (0, 10, 0, Mount(), 0.0, math.tan(math.radians(10))),  # nose up looks ahead
        (0, 10, 90, Mount(), math.tan(math.radians(10)), 0.0),
        (10, 0, 0, Mount(), -math.tan(math.radians(10)), 0.0),  # right wing down looks left
        (0, 0, 0, Mount(pitch_deg=9), 0.0, math.tan(math.radians(9))),
        (0, -9, 45, Mount(pitch_deg=9), 0.0, 0.0),  # the mount undoes the body
    ],
)
def test_optical_axis_meets_the_ground(roll, pitch, yaw, mount, east, north) -> None:
    seen = ground_seen(CENTRE, roll, pitch, yaw, mount, 100.0)
    assert seen == pytest.approx((100.0 * east, 100.0 * north), abs=1e-6)


def test_picture_top_points_to_the_nose_and_right_to_the_right_wing() -> None:
    east, north = ground_seen((CAMERA.cx, CAMERA.cy - CAMERA.fy), 0, 0, 90, Mount(), 50.0)
    assert (east, north) == pytest.approx((50.0, 0.0), abs=1e-6)
    east, north = ground_seen((CAMERA.cx + CAMERA.fx, CAMERA.cy), 0, 0, 0, Mount(yaw_deg=90), 50.0)
    assert (east, north) == pytest.approx((0.0, -50.0), abs=1e-6)


def test_field_of_view_and_scaling() -> None:
    assert CAMERA.fx == pytest.approx(320.0 / math.tan(math.radians(30.0)))
    half = CAMERA.scaled_to(320, 240)
    # The same ray in both: the outer edge of the picture.
    assert (half.width - 0.5 - half.cx) / half.fx == pytest.approx((CAMERA.width - 0.5 - CAMERA.cx) / CAMERA.fx)


@pytest.mark.parametrize("bad", [{"width": 8}, {"fx": 0.0}, {"height": 40000}])
def test_impossible_cameras_are_refused(bad) -> None:
    values = {"width": 640, "height": 480, "fx": 500.0, "fy": 500.0, "cx": 319.5, "cy": 239.5} | bad
    with pytest.raises(ValueError, match="camera"):
        CameraModel(**values)


@pytest.mark.parametrize(
    ("gimbal", "carrier"),
    [
        ((0.0, -90.0, 0.0), (0.0, 0.0, 0.0)),  # straight down
        ((0.0, -80.0, 0.0), (0.0, 10.0, 0.0)),  # ten degrees ahead of it
        ((0.0, -90.0, 70.0), (0.0, 0.0, 70.0)),
        ((0.0, -75.0, -100.0), (0.0, 15.0, -100.0)),
    ],
)
def test_a_gimbal_is_a_body_that_carries_the_camera(gimbal, carrier) -> None:
    assert carrier_deg(rotation_deg(*gimbal)) == pytest.approx(carrier, abs=1e-5)


@pytest.mark.parametrize("gimbal", [(3.0, -82.0, 40.0), (-8.0, -61.0, 200.0), (0.0, -90.0, 5.0)])
def test_the_carrier_points_the_camera_where_the_gimbal_does(gimbal) -> None:
    r = rotation_deg(*gimbal)
    to_ned = camera_to_ned(*carrier_deg(r), Mount())
    # Camera x right, y down, z ahead are the gimbal's y, z and x.
    np.testing.assert_allclose(to_ned, r[:, [1, 2, 0]], atol=1e-9)


def test_a_quaternion_turns_as_its_angle_says() -> None:
    half = math.radians(35.0) / 2.0
    np.testing.assert_allclose(
        rotation_of(2.0 * math.cos(half), 0.0, 0.0, 2.0 * math.sin(half)), rotation_deg(0.0, 0.0, 35.0), atol=1e-12
    )
    np.testing.assert_allclose(
        rotation_of(math.cos(half), math.sin(half), 0.0, 0.0), rotation_deg(35.0, 0.0, 0.0), atol=1e-12
    )
    np.testing.assert_allclose(
        rotation_of(math.cos(half), 0.0, math.sin(half), 0.0), rotation_deg(0.0, 35.0, 0.0), atol=1e-12
    )
