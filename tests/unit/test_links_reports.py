"""Each report as the message that stands for it, field by field, all dated by one clock."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.clocks import ManualClock
from support.mavlink import PEER, Autopilot, FakeTransport, decoded
from tilefix.camera import rotation_deg, rotation_of
from tilefix.links.mavlink import MavlinkLink
from tilefix.links.reports import EstimateReport, GlobalReport, LocalReport, PositionReport, Report, Route

S = 1_000_000_000
# The manual clock shows 1 s when the link is opened, as the link's own clock does.
AT_NS = 6 * S
LOCAL = LocalReport(
    at_ns=AT_NS - S // 5,
    stamp_ns=AT_NS,
    route=Route.VISION,
    north_m=100.5,
    east_m=-20.25,
    down_m=-80.0,
    velocity_north_mps=3.0,
    velocity_east_mps=-4.0,
    velocity_down_mps=0.5,
    sigma_m=5.0,
    speed_sigma_mps=0.5,
    variance_m2=(6.0, 7.0, 8.0),
    attitude_deg=(10.0, -5.0, 120.0),
    reset_counter=3,
)


def _sent(report: Report, autopilot: int = mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA) -> object:
    clock, transport = ManualClock(), FakeTransport()
    link = MavlinkLink(transport, clock)
    assert not link.send_report(report)
    transport.incoming.append((Autopilot().heartbeat(autopilot=autopilot), PEER))
    link.poll()
    transport.sent.clear()
    clock.advance_s(5.25)
    assert link.send_report(report)
    (message,) = decoded(transport)
    return message


def test_vision_position_estimate() -> None:
    sent = _sent(LOCAL)
    assert sent.get_type() == "VISION_POSITION_ESTIMATE"
    assert (sent.usec, sent.x, sent.y, sent.z, sent.reset_counter) == (6_000_000, 100.5, -20.25, -80.0, 3)
    assert all(map(math.isnan, (sent.roll, sent.pitch, sent.yaw)))
    variances = [sent.covariance[index] for index in (0, 6, 11, 15, 18, 20)]
    assert variances == pytest.approx([6.0, 7.0, 8.0, math.pi**2, math.pi**2, math.pi**2])
    assert sum(value != 0.0 for value in sent.covariance) == 6


@pytest.mark.parametrize(("autopilot", "frame"), [(mavlink.MAV_AUTOPILOT_ARDUPILOTMEGA, 20), (12, 1)])
def test_odometry(autopilot: int, frame: int) -> None:
    sent = _sent(dataclasses.replace(LOCAL, route=Route.ODOMETRY, quality=87), autopilot)
    assert (sent.get_type(), sent.frame_id, sent.child_frame_id) == ("ODOMETRY", frame, 12)
    assert (sent.time_usec, sent.x, sent.y, sent.z) == (6_000_000, 100.5, -20.25, -80.0)
    assert (sent.reset_counter, sent.quality, sent.estimator_type) == (3, 87, mavlink.MAV_ESTIMATOR_TYPE_VISION)
    # The receiver turns the velocity back by the quaternion that comes with it.
    turned = rotation_of(*sent.q)
    assert turned == pytest.approx(rotation_deg(10.0, -5.0, 120.0), abs=1e-6)
    assert turned @ np.array([sent.vx, sent.vy, sent.vz]) == pytest.approx([3.0, -4.0, 0.5], abs=1e-5)
    assert [sent.pose_covariance[index] for index in (0, 6, 11)] == [6.0, 7.0, 8.0]
    assert [sent.velocity_covariance[index] for index in (0, 6, 11)] == [0.25, 0.25, 0.25]


def test_external_position_estimate() -> None:
    sent = _sent(EstimateReport(AT_NS, 47.1234567, -8.7654321, 12.5))
    assert (sent.get_type(), sent.command, sent.frame) == ("COMMAND_INT", 43003, mavlink.MAV_FRAME_GLOBAL)
    assert (sent.target_system, sent.target_component) == (7, 1)
    assert (sent.x, sent.y) == (471234567, -87654321)
    assert math.isnan(sent.z)
    # Sent at 6.25 s by the link's clock, of 6 s.
    assert (sent.param1, sent.param2, sent.param3) == (6.25, 0.25, 12.5)


def test_global_position_sensor() -> None:
    sent = _sent(GlobalReport(AT_NS - S // 5, AT_NS, 1, 47.1234567, -8.7654321, 512.5, 4.0, 6.0), 12)
    assert (sent.get_type(), sent.id, sent.flags) == ("GLOBAL_POSITION_SENSOR", 1, 0)
    assert sent.source == mavlink.GLOBAL_POSITION_SRC_VISION
    assert (sent.time_usec, sent.processing_time) == (6_250_000, 250_000)
    assert (sent.lat, sent.lon, sent.alt, sent.eph, sent.epv) == (471234567, -87654321, 512.5, 4.0, 6.0)
    assert math.isnan(sent.alt_ellipsoid)


def test_gps_input_is_dated_by_the_same_clock() -> None:
    report = PositionReport(AT_NS, 1, 47.0, 8.0, 500.0, 1.0, 2.0, 0.0, 2.0, 3.0, 0.4, 8)
    assert _sent(report).time_usec == 6_000_000
