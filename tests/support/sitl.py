"""What the tests of the SITL tools share: the autopilot's side of a link, and ground to look at."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.geodesy import Grid, LocalFrame
from tilefix.types import UInt8Array

FRAME = LocalFrame(47.0, 8.0)


def checkered(side_px: int = 400, gsd_m: float = 0.5) -> tuple[UInt8Array, Grid]:
    """Ground whose red grows eastwards and whose green grows northwards, by one step of 255 over its width."""
    ramp = np.linspace(0.0, 255.0, side_px)
    pixels = np.zeros((side_px, side_px, 3), np.uint8)
    pixels[..., 0] = ramp[None, :].round()
    pixels[..., 1] = ramp[::-1, None].round()
    half = side_px * gsd_m / 2.0
    return pixels, Grid(-half, half, gsd_m, side_px, side_px)


def sim_state(
    east_m: float = 0.0,
    north_m: float = 0.0,
    amsl_m: float = 60.0,
    *,
    roll_deg: float = 0.0,
    pitch_deg: float = 0.0,
    yaw_deg: float = 0.0,
    north_mps: float = 0.0,
    east_mps: float = 0.0,
) -> Any:
    """SIM_STATE as ArduPilot fills it."""
    lat_deg, lon_deg = FRAME.to_geodetic(east_m, north_m)
    angles = [math.radians(angle) for angle in (roll_deg, pitch_deg, yaw_deg)]
    return mavlink.MAVLink_sim_state_message(
        1.0, 0.0, 0.0, 0.0, *angles, 0.0, 0.0, -9.8, 0.0, 0.0, 0.0,
        lat_deg * 1e7, lon_deg * 1e7, amsl_m, 0.0, 0.0, north_mps, east_mps, 0.0,
        round(lat_deg * 1e7), round(lon_deg * 1e7),
    )  # fmt: skip


def attitude(boot_ms: int) -> Any:
    """ATTITUDE, of which only the stamp counts here."""
    return mavlink.MAVLink_attitude_message(boot_ms, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
