"""What PX4's own program makes of what tilefix sends in flight without GNSS: run where TILEFIX_PX4 names a build folder
(a minute each, in real time)."""

from __future__ import annotations

import time

import pytest

from support.px4bench import COMPANION_PORT, Px4Bench, Px4Sitl, program
from tilefix.links import open_link
from tilefix.links.vehicle import Vehicle
from tilefix.publishing.publisher import Publisher
from tilefix.publishing.sender import Sender
from tilefix.publishing.settings import PublishSettings
from tilefix.service.config import LinkSettings
from tilefix.timing import MonotonicClock
from tilefix.types import Covariance, Fix, FixKind

pytestmark = pytest.mark.skipif(program() is None, reason="TILEFIX_PX4 names no build folder of PX4")
_SPREAD, _SPEED = Covariance(4.0, 0.0, 4.0), Covariance(0.04, 0.0, 0.04)


class Companion:
    """What tilefix has between a position and a link; its positions are the truth."""

    def __init__(self, route: str) -> None:
        self.clock = MonotonicClock()
        self.link = open_link(LinkSettings(f"udpin:127.0.0.1:{COMPANION_PORT}"), self.clock)
        self.vehicle = Vehicle()
        self.publisher = Publisher(PublishSettings(route=route, mirror_gnss=False))
        self.sender = Sender(self.publisher, self.link)
        self.sent = 0
        self._second = 0.0

    def step(self, bench: Px4Bench) -> None:
        """Listens, and sends one position."""
        for message in self.link.poll():
            self.vehicle.take(message)
        now_ns = self.clock.now_ns()
        if time.monotonic() >= self._second:
            self._second = time.monotonic() + 1.0
            self.sender.attend(self.vehicle, now_ns)
        at_ns = self.sender.instant_ns(now_ns, self.vehicle)
        true = bench.truth((now_ns - at_ns) / 1e9)
        moving = (true.east_mps, true.north_mps)
        fix = Fix(at_ns, FixKind.FIX, true.lat_deg, true.lon_deg, 0.0, 0.0, _SPREAD, 0.1, *moving, _SPEED)
        decision = self.publisher.decide(fix, self.vehicle, at_ns)
        self.sent += decision.report is not None and self.sender.send(decision, now_ns, at_ns)


@pytest.mark.parametrize(
    ("route", "parameters"),
    [
        ("global_position", {"EKF2_AGP0_ID": 1, "EKF2_AGP0_CTRL": 1, "EKF2_AGP0_DELAY": 100}),
        ("odometry", {"EKF2_EV_CTRL": 1, "EKF2_EV_DELAY": 100}),
        ("odometry", {"EKF2_EV_CTRL": 5, "EKF2_EV_DELAY": 100}),
        ("vision", {"EKF2_EV_CTRL": 1, "EKF2_EV_DELAY": 100}),
    ],
)
def test_it_carries_the_flight_without_gnss(route: str, parameters: dict[str, float]) -> None:
    found = program()
    assert found is not None
    companion = Companion(route)
    bench = None
    try:
        bench = Px4Sitl(found, parameters, beside=True, speedup=1.0)
        bench.run(10.0, companion.step)
        bench.take_off(companion.step)
        bench.lose_gnss()
        bench.run(40.0, companion.step)
        assert companion.sent > 400
        errors_m = []
        for _ in range(10):
            bench.run(1.0, companion.step)
            errors_m.append(bench.error_m())
        assert max(errors_m) < 4.0, errors_m
        bench.run(0.5, companion.step)
        assert bench.of("ESTIMATOR_STATUS")[-1].flags & 16
        assert "Failsafe" not in bench.texts
    finally:
        companion.link.close()
        if bench is not None:
            bench.close()
