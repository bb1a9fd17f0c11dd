"""Flight without a stated heading: found, carried on through turns, given up by and by."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import AGL_M, CAMERA, small_map
from tilefix.camera import Mount
from tilefix.localization.heading import ANY_DEG, MATCHED_DEG, STATED_DEG, Heading, turn_between
from tilefix.localization.localizer import Localizer
from tilefix.localization.look import Look, Looker
from tilefix.localization.settings import LocalizerSettings
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.simulation.camera import render_view
from tilefix.types import Fix, Frame, NoFix, VehicleState

STEP_NS = 500_000_000
COURSE_DEG = 115.0


def state(yaw_deg: float | None) -> VehicleState:
    return VehicleState(STEP_NS, 0.0, 0.0, yaw_deg, AGL_M)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    return small_map(tmp_path_factory.mktemp("maps") / "here", ThumbnailEmbedder(), side_px=1000)


class Flight:
    """Eastwards at 8 m a frame, the nose where it is told to be."""

    def __init__(self, package: MapPackage) -> None:
        self.package, self.k = package, 0
        self.localizer = Localizer(package, TileIndex.open(package), ThumbnailEmbedder(), CAMERA, Mount())

    @property
    def place(self) -> tuple[float, float]:
        return -120.0 + 8.0 * (self.k - 1), 15.0

    def frame(self, true_deg: float, stated_deg: float | None) -> Fix | NoFix:
        self.k += 1
        image = render_view(
            self.package.imagery, self.package.grid, CAMERA, Mount(), *self.place, AGL_M, 0.0, 0.0, true_deg
        )
        at_ns = self.k * STEP_NS
        return self.localizer.process(Frame(image, at_ns, self.k), VehicleState(at_ns, 0.0, 0.0, stated_deg, AGL_M))

    def error_m(self, answer: Fix | NoFix) -> float:
        assert isinstance(answer, Fix), answer
        return math.dist((answer.east_m, answer.north_m), self.place)


def off_deg(answer: Fix | NoFix, true_deg: float) -> float:
    assert isinstance(answer, Fix)
    assert answer.heading_deg is not None
    return abs(math.remainder(answer.heading_deg - true_deg, 360.0))


@pytest.mark.parametrize("stated", [None, math.nan])
def test_place_and_heading_are_found_without_one(package, stated) -> None:
    flight = Flight(package)
    answers = [flight.frame(COURSE_DEG, stated) for _ in range(22)]
    first = next(k for k, answer in enumerate(answers) if isinstance(answer, Fix))
    assert first >= 2  # it gathers evidence as any place must
    assert flight.error_m(answers[-1]) < 3.0
    assert off_deg(answers[-1], COURSE_DEG) < 1.5
    last = answers[-1]
    assert isinstance(last, Fix)
    assert last.turn_deg is None
    assert last.turn_sigma_deg is None
    assert last.heading_sigma_deg == pytest.approx(MATCHED_DEG, abs=1.0)
    assert (last.velocity_east_mps, last.velocity_north_mps) == pytest.approx((16.0, 0.0), abs=0.8)


def test_a_heading_that_is_lost_in_flight_is_carried_through_turns_and_taken_up_again(package) -> None:
    flight = Flight(package)
    for _ in range(14):
        answer = flight.frame(90.0, 90.0)
    assert isinstance(answer, Fix)
    yaw_deg = 90.0
    for step in range(8):
        yaw_deg += 12.0 if step < 5 else -7.0
        answer = flight.frame(yaw_deg, None)
        assert flight.error_m(answer) < 3.0
        assert off_deg(answer, yaw_deg) < 2.0
    # What is stated now is wrong by 10 degrees, which the matches know.
    answer = flight.frame(yaw_deg, yaw_deg - 10.0)
    assert flight.error_m(answer) < 3.0
    assert isinstance(answer, Fix)
    assert answer.turn_deg == pytest.approx(10.0, abs=2.0)


def test_the_same_flight_gives_the_same_answers(package) -> None:
    flights = [Flight(package) for _ in range(2)]
    answers = [[flight.frame(COURSE_DEG + 3.0 * k, None) for k in range(10)] for flight in flights]
    assert answers[0] == answers[1]


def test_a_stated_heading_is_taken_and_then_carried() -> None:
    heading = Heading()
    assert heading.told(state(40.0)).yaw_deg == 40.0
    assert not heading.unknown
    assert heading.told(state(None)).yaw_deg == 40.0
    assert heading.sigma_deg == STATED_DEG
    heading.turned(12.0, 0.5)
    assert heading.told(state(None)).yaw_deg == pytest.approx(52.0)
    assert heading.expected_deg(0.25) == pytest.approx(6.0)


def test_a_heading_is_unknown_at_first_and_after_turns_that_nobody_saw() -> None:
    heading = Heading()
    heading.told(state(None))
    assert heading.unknown
    assert heading.sigma_deg == ANY_DEG
    heading.matched(0.5)
    assert not heading.unknown
    assert heading.sigma_deg == MATCHED_DEG
    heading.turned(None, 0.3)
    assert not heading.unknown
    heading.turned(None, 0.7)
    assert heading.unknown


def test_a_turn_is_expected_to_go_on_until_one_is_not_seen_or_a_heading_is_stated() -> None:
    for end in (lambda heading: heading.turned(None, 0.5), lambda heading: heading.told(state(80.0))):
        heading = Heading()
        heading.told(state(40.0))
        heading.told(state(None))
        heading.turned(-9.0, 0.5)
        assert heading.expected_deg(1.0) == pytest.approx(-18.0)
        end(heading)
        assert heading.expected_deg(1.0) == 0.0


@pytest.mark.parametrize(
    ("before", "after"), [((0.0, 0.0), (0.0, 0.0)), ((0.0, 0.0), (4.0, 0.0)), ((4.0, 0.0), (1.0, 0.0)),
                          ((0.0, 0.0), (3.0, 2.0)), ((3.0, -2.0), (0.0, 5.0)), ((357.0, 0.0), (2.0, 0.0))],
)  # fmt: skip
def test_a_turn_is_the_vehicles_own_whatever_was_corrected_meanwhile(package, before, after) -> None:
    """Both pictures are laid under the heading carried on, 90 degrees, and under what was known to be off at the time;
    the vehicle turned from 92 to 105."""
    looker = Looker(package, CAMERA, Mount(), LocalizerSettings())
    looks = []
    for k, (true_deg, (turn_deg, turned_deg)) in enumerate(((92.0, before), (105.0, after))):
        image = render_view(package.imagery, package.grid, CAMERA, Mount(), 8.0 * k, 0.0, AGL_M, 0.0, 0.0, true_deg)
        look = looker.look(Frame(image, k, k), state(90.0), turn_deg, 1.0)
        assert isinstance(look, Look)
        looks.append(replace(look, turned_deg=turned_deg))
    turn_deg = turn_between(looks[0], looks[1], 0.0, 40.0)
    assert turn_deg == pytest.approx(13.0, abs=0.5)


def test_doubts_add_up_to_a_heading_that_is_unknown() -> None:
    heading = Heading()
    heading.told(state(10.0))
    heading.told(state(None))
    for _ in range(2):
        heading.doubt()
    assert not heading.unknown
    heading.doubt()
    assert heading.unknown
