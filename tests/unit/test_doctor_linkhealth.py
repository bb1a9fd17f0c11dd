"""How well an autopilot is heard: rates, ages, and what flying would suffer from."""

from __future__ import annotations

import pytest

from tilefix.doctor.linkhealth import LinkHealth, LinkTally
from tilefix.links.messages import (
    Attitude,
    AutopilotKind,
    AutopilotTime,
    EkfFlags,
    GnssReceiver,
    Origin,
    Pressure,
    Route,
)

S = 1_000_000_000
ARDUPILOT = AutopilotKind.ARDUPILOT


def _hear(
    *,
    attitude_hz: int = 40,
    age_ms: float = 5.0,
    pressure: bool = True,
    receiver: bool = True,
    flags: bool = True,
    origin: bool = True,
    round_trip_ns: int | None = 4_000_000,
    route: Route = Route.GPS_INPUT,
) -> LinkHealth:
    tally = LinkTally()
    tally.take(Attitude(0, 0.0, 0.0, 0.0), 0)  # before the start: not counted
    tally.start(10 * S)
    for tick in range(5 * attitude_hz):
        now_ns = 10 * S + tick * S // attitude_hz
        tally.take(Attitude(now_ns - round(age_ms * 1e6), 0.0, 0.0, 0.0), now_ns)
    for second in range(10, 15):
        now_ns = second * S
        if pressure:
            tally.take(Pressure(now_ns, 950.0), now_ns)
        if receiver:
            tally.take(GnssReceiver(now_ns, 3), now_ns)
        if flags:
            tally.take(EkfFlags(now_ns, 0x33F), now_ns)
        if origin:
            tally.take(Origin(now_ns, 47.0, 8.0, 400.0), now_ns)
        tally.take(AutopilotTime(now_ns, 0), now_ns)
    return tally.health(15 * S, ARDUPILOT, route, round_trip_ns)


def test_a_good_link_has_its_rates_and_ages_and_nothing_to_complain_of() -> None:
    health = _hear()
    assert health.complaints == ()
    attitude = health.streams[0]
    assert (attitude.name, attitude.rate_hz) == ("attitude", 40.0)
    assert (attitude.age_ms, attitude.oldest_ms) == (5.0, 5.0)
    assert health.round_trip_ms == 4.0
    assert health.streams[2].age_ms is None


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"attitude_hz": 0}, "no attitude"),
        ({"attitude_hz": 4}, "attitude comes 4 times a second"),
        ({"age_ms": 300.0}, "attitude is 300 ms old"),
        ({"pressure": False}, "no air pressure"),
        ({"receiver": False}, "GNSS receiver"),
        ({"flags": False}, "EKF_STATUS_REPORT"),
        ({"origin": False, "route": Route.VISION}, "no origin"),
        ({"round_trip_ns": None}, "TIMESYNC"),
        ({"round_trip_ns": 400_000_000}, "400 ms at best"),
    ],
)
def test_each_fault_is_told(fault: dict[str, object], said: str) -> None:
    complaints = _hear(**fault).complaints  # type: ignore[arg-type]
    assert len(complaints) == 1
    assert said in complaints[0]


def test_local_positions_alone_need_the_origin() -> None:
    assert _hear(origin=False).complaints == ()
