"""How positions are sent: the section [publish] of the configuration."""

from __future__ import annotations

from dataclasses import dataclass

from tilefix.links.reports import Route
from tilefix.toml.fields import chosen, limited

# Below this rate an autopilot takes the source for broken. GPS_INPUT: a mean interval below 215 ms; vision and
# odometry: none above 300 ms in ArduPilot, 200 ms in PX4; what is taken one by one has no such limit, but PX4 forgets
# after 5 s.
LEAST_RATE_HZ = {
    Route.GPS_INPUT: 5.0,
    Route.VISION: 4.0,
    Route.ODOMETRY: 4.0,
    Route.EXTERNAL_ESTIMATE: 0.0,
    Route.GLOBAL_POSITION: 0.5,
}


@dataclass(frozen=True)
class PublishSettings:
    """How positions are sent.

    `route`: the message (`tilefix.links.reports.Route`), or `auto`: by autopilot, version, airframe and rate
    (`tilefix.publishing.selection`). `gps_id`: the receiver's place in the autopilot, counted from 0: 1 is its second
    one (GPS2_TYPE = 14). 0 makes tilefix the only receiver, and what the autopilot reports of its first receiver is
    then not believed. `rate_hz`: ArduPilot takes a receiver below 5 Hz for broken. `estimate_every_s`: how often the
    route `external_estimate` gives one: each moves the autopilot at once. `satellites`: fewer than the real receiver
    sees, so that the autopilot prefers that one while it lives; at least 6, or it is not used.
    `max_sigma_m`: a position less certain is not sent; `max_coast_sigma_m`: the same for one that no picture
    confirmed lately. `delay_ms`: what the autopilot takes positions to be late by; by default what its own parameter
    says (GPS2_DELAY_MS, VISO_DELAY_MS). The position sent holds for that long ago. `mirror_gnss`: while the real
    receiver is good and there is no position of our own, its own position is sent: ArduPilot arms only when every
    source that it knows has one.
    """

    route: str = chosen("auto", *(route.value for route in Route))
    gps_id: int = limited(0, 3, 1)
    rate_hz: float = limited(0.05, 20.0, 10.0)
    estimate_every_s: float = limited(1.0, 60.0, 10.0)
    satellites: int = limited(6, 40, 8)
    max_sigma_m: float = limited(0.5, 100.0, 25.0)
    max_coast_sigma_m: float = limited(0.5, 100.0, 25.0)
    delay_ms: float | None = limited(0.0, 250.0, None)
    mirror_gnss: bool = True
    min_sigma_m: float = limited(0.1, 100.0, 0.5)
    min_speed_sigma_mps: float = limited(0.05, 10.0, 0.2)

    def __post_init__(self) -> None:
        route = self.chosen_route
        if route is not None and self.rate_hz < LEAST_RATE_HZ[route]:
            raise ValueError(f"rate_hz for {self.route} must be at least {LEAST_RATE_HZ[route]:g}")

    @property
    def chosen_route(self) -> Route | None:
        """The route that was asked for, `None` for `auto`."""
        return None if self.route == "auto" else Route(self.route)
