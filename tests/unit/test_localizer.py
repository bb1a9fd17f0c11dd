"""The decision: finds itself, follows, coasts, refuses; the same each time."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import AGL_M, CAMERA, noise_ground, small_map
from tilefix.camera import CameraModel, Mount
from tilefix.localization.belief import MODE_REACH_CELLS, Belief, Mode
from tilefix.localization.localizer import OUTVOTED_M, Localizer, LocalizerSettings
from tilefix.localization.register import Peak
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.simulation.camera import render_view
from tilefix.timing import MonotonicClock, StageTimer
from tilefix.types import Covariance, Fix, FixKind, Frame, NoFix, Reason, VehicleState

STEP_NS = 500_000_000
SPEED_MPS = 16.0


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    return small_map(tmp_path_factory.mktemp("maps") / "here", ThumbnailEmbedder(), side_px=1000)


def localizer_on(package: MapPackage, settings: LocalizerSettings | None = None, camera=CAMERA) -> Localizer:
    return Localizer(package, TileIndex.open(package), ThumbnailEmbedder(), camera, Mount(), settings)


def place(k: int) -> tuple[float, float]:
    return -120.0 + SPEED_MPS * 0.5 * k, 15.0


def seen(package: MapPackage, k: int, *, ground=None, agl_m: float = AGL_M, yaw_deg: float = 90.0) -> Frame:
    pixels = package.imagery if ground is None else ground
    image = render_view(pixels, package.grid, CAMERA, Mount(), *place(k), AGL_M, 0.0, 0.0, 90.0)
    return Frame(image, (k + 1) * STEP_NS, k)


def state(k: int, **changed: float | None) -> VehicleState:
    return replace(VehicleState((k + 1) * STEP_NS, 0.0, 0.0, 90.0, AGL_M), **changed)


def fly(localizer: Localizer, package: MapPackage, ks, **changed) -> list[Fix | NoFix]:
    return [localizer.process(seen(package, k), state(k, **changed)) for k in ks]


def error_m(answer: Fix | NoFix, k: int) -> float:
    assert isinstance(answer, Fix), answer
    return math.dist((answer.east_m, answer.north_m), place(k))


def test_finds_itself_without_a_hint_and_follows(package) -> None:
    localizer = localizer_on(package)
    answers = fly(localizer, package, range(25))
    assert isinstance(answers[0], NoFix)  # one picture alone is never believed
    first = next(k for k, answer in enumerate(answers) if isinstance(answer, Fix))
    assert first <= 12
    for k in range(first, 25):
        assert error_m(answers[k], k) < 2.0
        assert answers[k].kind is FixKind.FIX
    last = answers[-1]
    assert isinstance(last, Fix)
    assert (last.velocity_east_mps, last.velocity_north_mps) == pytest.approx((SPEED_MPS, 0.0), abs=0.5)
    lat_lon = package.frame.to_geodetic(last.east_m, last.north_m)
    assert (last.lat_deg, last.lon_deg) == pytest.approx(lat_lon)


def test_another_belief_decides_in_place_of_the_usual_one(package) -> None:
    class Undecided(Belief):
        def mode(self, reach: int = MODE_REACH_CELLS) -> Mode:
            return replace(super().mode(reach), probability=0.5)

    index, embedder = TileIndex.open(package), ThumbnailEmbedder()
    localizer = Localizer(package, index, embedder, CAMERA, Mount(), belief=Undecided)
    assert {answer.reason for answer in fly(localizer, package, range(12))} == {Reason.AMBIGUOUS}


def test_told_to_search_for_every_frame_it_keeps_what_it_found(package) -> None:
    """`research_after_s` = 0: the worst case of a flight's load, without its doubt."""
    settings = LocalizerSettings(research_after_s=0.0)
    localizer, timer = localizer_on(package, settings), StageTimer(MonotonicClock())
    answers = [localizer.process(seen(package, k), state(k), timer) for k in range(16)]
    first = next(k for k, answer in enumerate(answers) if isinstance(answer, Fix))
    assert first <= 12
    assert all(error_m(answers[k], k) < 4.0 for k in range(first, 16))
    searched = timer.percentiles_ms()
    assert searched["search"].count == searched["embed"].count == 16
    assert "register" not in searched


def test_of_many_tiles_only_those_near_a_hint_are_read_but_now_and_then_all(package, monkeypatch) -> None:
    monkeypatch.setattr("tilefix.localization.acquire.MANY_TILES", 1)
    monkeypatch.setattr("tilefix.localization.acquire.NEAR_M", 100.0)
    monkeypatch.setattr("tilefix.localization.acquire.FEWEST_TILES", 16)
    asked: list[str] = []
    for name in ("similarities", "similarities_near"):
        original = getattr(TileIndex, name)
        monkeypatch.setattr(
            TileIndex, name, lambda self, *given, n=name, do=original: asked.append(n) or do(self, *given)
        )
    localizer = localizer_on(package, LocalizerSettings(research_after_s=0.0))
    fly(localizer, package, range(2))
    assert asked == ["similarities", "similarities"]  # anywhere: nothing is near
    asked.clear()
    localizer = localizer_on(package, LocalizerSettings(research_after_s=0.0))
    localizer.hint(*package.frame.to_geodetic(*place(0)), 20.0)
    answers = fly(localizer, package, range(14))
    assert asked == (["similarities_near"] * 3 + ["similarities"]) * 3 + ["similarities_near"] * 2
    assert error_m(answers[-1], 13) < 2.0


def test_equal_inputs_give_equal_answers(package) -> None:
    assert fly(localizer_on(package), package, range(14)) == fly(localizer_on(package), package, range(14))


def test_a_hint_does_not_make_a_likeness_a_fix(package) -> None:
    """Other ground that shares one plot with the map, and a hint that points right at it."""
    alike = noise_ground(78, 1000)
    plot = (slice(422, 518), slice(220, 340))
    alike[plot] = package.imagery[plot]
    fixes = {}
    for evidence in (LocalizerSettings().settle_evidence, 0.0):
        localizer = localizer_on(package, LocalizerSettings(settle_evidence=evidence))
        localizer.hint(*package.frame.to_geodetic(*place(0)), 20.0)
        answers = [localizer.process(seen(package, k, ground=alike), state(k)) for k in range(8)]
        fixes[evidence] = sum(isinstance(answer, Fix) for answer in answers)
    assert fixes[LocalizerSettings().settle_evidence] == 0
    assert fixes[0.0] > 0  # the scene does tempt: without that demand the hint would have been believed


def test_ground_that_is_not_on_the_map_gives_no_fix(package) -> None:
    elsewhere = noise_ground(77, 1000)
    for hinted in (False, True):
        localizer = localizer_on(package)
        if hinted:
            localizer.hint(*package.frame.to_geodetic(*place(0)), 30.0)
        for k in range(25):
            answer = localizer.process(seen(package, k, ground=elsewhere), state(k))
            assert isinstance(answer, NoFix)
            assert answer.reason in (Reason.NO_MATCH, Reason.AMBIGUOUS)


def test_two_equal_places_are_ambiguous_until_a_hint(tmp_path) -> None:
    ground = noise_ground(9, 1000)
    ground[:, 500:] = ground[:, :500]
    twins = replace(small_map(tmp_path / "twins", ThumbnailEmbedder(), side_px=1000), imagery=ground)
    lost, hinted = localizer_on(twins), localizer_on(twins)
    hinted.hint(*twins.frame.to_geodetic(place(0)[0] + 250.0, place(0)[1]), 30.0)
    for k in range(6):  # then the seam between the twins comes into view
        answer = lost.process(seen(twins, k), state(k))
        assert answer == NoFix((k + 1) * STEP_NS, Reason.AMBIGUOUS)
        answer = hinted.process(seen(twins, k), state(k))
    assert isinstance(answer, Fix)
    assert math.dist((answer.east_m - 250.0, answer.north_m), place(5)) < 2.0


def tracking(package: MapPackage, settings: LocalizerSettings | None = None) -> tuple[Localizer, int]:
    localizer = localizer_on(package, settings)
    for k in range(20):
        answer = localizer.process(seen(package, k), state(k))
    assert isinstance(answer, Fix)
    return localizer, 20


def cover_the_lens(localizer: Localizer, k: int) -> None:
    dark = Frame(np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), (k + 1) * STEP_NS, k)
    localizer.process(dark, state(k))


def test_ground_that_leaps_silences_until_a_match(package) -> None:
    """Carried away between two frames: neither motion nor map explain what is seen, so nothing is said."""
    localizer, k = tracking(package)
    for step in range(3):
        answer = localizer.process(seen(package, k + step, ground=noise_ground(31, 1000)), state(k + step))
        assert isinstance(answer, NoFix)
        assert answer.reason in (Reason.NO_MATCH, Reason.IMPLAUSIBLE_JUMP)
        assert isinstance(localizer.predict((k + step + 2) * STEP_NS), NoFix)
    assert error_m(fly(localizer, package, [k + 3])[0], k + 3) < 2.0


def test_a_picture_that_comes_again_is_no_position(package) -> None:
    localizer, k = tracking(package)
    image = seen(package, k - 1).image
    for step in range(3):
        answer = localizer.process(Frame(image, (k + step + 1) * STEP_NS, k + step), state(k + step))
        assert answer == NoFix((k + step + 1) * STEP_NS, Reason.FROZEN_CAMERA)
    assert error_m(fly(localizer, package, [k + 3, k + 4])[-1], k + 4) < 2.0


def test_dark_frames_coast_with_growing_sigma_then_stop(package) -> None:
    localizer, k = tracking(package, LocalizerSettings(max_blind_s=4.0))
    sigmas = []
    for step in range(16):
        dark = Frame(np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), (k + step + 1) * STEP_NS, k + step)
        answer = localizer.process(dark, state(k + step))
        if isinstance(answer, NoFix):
            break
        assert answer.reason is Reason.TOO_DARK
        assert answer.kind is (FixKind.FIX if answer.match_age_s <= 2.0 else FixKind.COAST)
        assert error_m(answer, k + step) < 4.0 * answer.sigma_m
        sigmas.append(answer.sigma_m)
    assert sigmas == sorted(sigmas)
    assert sigmas[-1] > 1.5 * sigmas[0]
    assert len(sigmas) == 8
    assert answer == NoFix(answer.at_ns, Reason.TOO_DARK)


def test_ground_without_a_match_coasts_on_motion_until_the_limit(package) -> None:
    """The map is out of date here: motion is seen, matches are not."""
    elsewhere = noise_ground(31, 1000)
    settings = LocalizerSettings(max_coast_s=5.0, max_blind_s=1.0, lose_probability=0.0)
    localizer, k = tracking(package, settings)
    cover_the_lens(localizer, k)  # so that the camera does not see one ground leap to another
    coasted = []
    for step in range(1, 16):
        answer = localizer.process(seen(package, k + step, ground=elsewhere), state(k + step))
        if isinstance(answer, Fix):
            coasted.append(answer.match_age_s)
            assert error_m(answer, k + step) < 4.0 * answer.sigma_m
    assert coasted[0] == 1.0  # the first picture of other ground shows no motion either, within the second allowed
    assert coasted[-1] == 5.0
    assert isinstance(answer, NoFix)


def test_while_coasting_the_heading_error_found_before_holds(package) -> None:
    """The heading is stated 20 degrees wrong: forgotten where nothing fits, motion would lead astray by a third."""
    elsewhere = noise_ground(31, 1000)
    localizer = localizer_on(package, LocalizerSettings(max_blind_s=1.0, lose_probability=0.0))
    tracked = fly(localizer, package, range(18), yaw_deg=110.0)[-1]
    assert isinstance(tracked, Fix)
    assert tracked.turn_deg == pytest.approx(-20.0, abs=3.0)
    cover_the_lens(localizer, 18)
    coasted = 0
    for k in range(19, 34):
        answer = localizer.process(seen(package, k, ground=elsewhere), state(k, yaw_deg=110.0))
        if isinstance(answer, Fix):
            coasted += 1
            assert answer.turn_deg == tracked.turn_deg
            assert error_m(answer, k) < 3.0 * answer.sigma_m
    assert coasted >= 12


def test_a_belief_that_left_the_place_ends_the_coasting(package) -> None:
    elsewhere = noise_ground(31, 1000)
    patient, doubting = (tracking(package, LocalizerSettings(lose_probability=p))[0] for p in (0.0, 0.9))
    for localizer in (patient, doubting):
        cover_the_lens(localizer, 20)
    for step in range(1, 7):
        frame, now = seen(package, 20 + step, ground=elsewhere), state(20 + step)
        answers = patient.process(frame, now), doubting.process(frame, now)
    assert isinstance(answers[0], Fix)
    assert isinstance(answers[1], NoFix)


def test_recovers_after_a_gap(package) -> None:
    localizer, k = tracking(package)
    for step in range(4):
        dark = Frame(np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), (k + step + 1) * STEP_NS, k + step)
        localizer.process(dark, state(k + step))
    answers = fly(localizer, package, range(k + 4, k + 10))
    assert error_m(answers[-1], k + 9) < 2.0
    assert answers[-1].match_age_s == 0.0


def test_prediction_moves_on_and_widens(package) -> None:
    localizer, k = tracking(package)
    now, later = localizer.predict(k * STEP_NS), localizer.predict((k + 2) * STEP_NS)
    assert isinstance(now, Fix)
    assert isinstance(later, Fix)
    assert later.east_m - now.east_m == pytest.approx(SPEED_MPS * 1.0, abs=1.0)
    assert later.sigma_m > now.sigma_m
    assert isinstance(localizer.predict((k + 100) * STEP_NS), NoFix)


def test_heading_and_height_errors_are_suffered_no_more_than_said(package) -> None:
    localizer = localizer_on(package)
    answers = fly(localizer, package, range(25), yaw_deg=97.0, agl_m=AGL_M * 1.05)
    assert error_m(answers[-1], 24) < 3.0


def test_large_errors_of_heading_and_height_are_found(package) -> None:
    for yaw_deg, share in ((112.0, 1.0), (90.0, 1.15), (80.0, 0.88)):
        localizer = localizer_on(package)
        answers = fly(localizer, package, range(20), yaw_deg=yaw_deg, agl_m=AGL_M * share)
        assert error_m(answers[-1], 19) < 3.0, (yaw_deg, share)


def test_any_heading_is_found_when_told_to_look_for_it(package) -> None:
    localizer = localizer_on(package, LocalizerSettings(heading_error_deg=180.0, height_error=0.0))
    answers = fly(localizer, package, range(22), yaw_deg=-130.0)
    assert error_m(answers[-1], 21) < 3.0
    found = answers[-1]
    assert isinstance(found, Fix)
    assert found.turn_deg == pytest.approx(-140.0, abs=1.0)
    assert found.turn_sigma_deg is not None
    assert found.turn_sigma_deg < 2.0


def test_only_one_and_the_same_other_place_outvotes_the_one_before(package) -> None:
    """Places that take turns are none: what is flown while they do does not add up."""

    def refused(places) -> bool:
        localizer, _ = tracking(package)
        look = localizer._chain.shown
        assert look is not None
        localizer._frame_s = 1.0
        peak = Peak(0.0, 0.0, 0.5, 10.0, Covariance(1.0, 0.0, 1.0))
        return all(localizer._contradicted(look, replace(peak, east_m=east_m)) for east_m in places)

    frames = math.ceil(OUTVOTED_M / SPEED_MPS) + 2
    assert refused([400.0, -400.0] * frames)
    assert not refused([400.0] * frames)


def test_reset_forgets_the_place(package) -> None:
    localizer, k = tracking(package)
    localizer.reset()
    assert localizer.predict(k * STEP_NS) == NoFix(k * STEP_NS, Reason.AMBIGUOUS)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"agl_m": None}, Reason.NO_HEIGHT),
        ({"roll_deg": 50.0}, Reason.TILTED),
        ({"agl_m": 5.0}, Reason.OUT_OF_SCALE),
        ({"agl_m": 90000.0}, Reason.OUT_OF_SCALE),
        ({"pitch_deg": math.nan}, Reason.NO_ATTITUDE),
        ({"agl_m": math.inf}, Reason.NO_HEIGHT),
    ],
)
def test_frames_that_cannot_be_used_say_why(package, changed, reason) -> None:
    answer = localizer_on(package).process(seen(package, 0), state(0, **changed))
    assert answer == NoFix(STEP_NS, reason)


def test_horizon_in_view_is_refused(package) -> None:
    wide = CameraModel.from_hfov(320, 240, 120.0)
    answer = localizer_on(package, camera=wide).process(seen(package, 0), state(0, pitch_deg=30.0))
    assert answer == NoFix(STEP_NS, Reason.HORIZON)


def test_an_old_frame_is_stale_and_changes_nothing(package) -> None:
    localizer, k = tracking(package)
    before = localizer.predict((k + 1) * STEP_NS)
    answer = localizer.process(seen(package, 3), state(3))
    assert answer == NoFix(k * STEP_NS, Reason.STALE_FRAME)
    assert localizer.predict((k + 1) * STEP_NS) == before


def test_flying_off_the_map_ends_in_off_map(package) -> None:
    cover = np.array(package.coverage)
    cover[:, 500:] = 0
    half = replace(package, coverage=cover)
    localizer = localizer_on(half)
    answers = fly(localizer, half, range(42))  # from 120 m inside the edge to 208 m beyond it
    for k, answer in enumerate(answers):
        if isinstance(answer, Fix):
            assert error_m(answer, k) < max(2.0, 3.0 * answer.sigma_m)
    assert isinstance(answers[14], Fix)
    assert Reason.OFF_MAP in {answer.reason for answer in answers}
    assert isinstance(answers[-1], NoFix)


def test_a_frame_of_another_size_is_scaled(package) -> None:
    localizer = localizer_on(package, camera=CAMERA.scaled_to(640, 480))
    answers = fly(localizer, package, range(16))
    assert error_m(answers[-1], 15) < 2.0


@pytest.mark.parametrize("shape", [(1, 1, 3), (0, 0, 3), (15, 400, 3)])
def test_a_frame_of_hardly_any_pixels_is_refused(package, shape) -> None:
    localizer, k = tracking(package)
    answer = localizer.process(Frame(np.full(shape, 90, np.uint8), (k + 1) * STEP_NS, k), state(k))
    assert answer.reason is Reason.BLURRED
    assert error_m(fly(localizer, package, range(k + 1, k + 3))[-1], k + 2) < 2.0


def test_blind_flight_is_doubted_alike_however_often_it_is_looked_at(package) -> None:
    localizer, k = tracking(package, LocalizerSettings(max_blind_s=10.0))
    ahead = localizer.predict((k + 8) * STEP_NS)
    assert isinstance(ahead, Fix)
    dark = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    for step in range(1, 41):
        at_ns = k * STEP_NS + step * STEP_NS // 5
        answer = localizer.process(Frame(dark, at_ns, k + step), replace(state(k), at_ns=at_ns))
    assert isinstance(answer, Fix)
    assert answer.at_ns == ahead.at_ns
    assert answer.sigma_m == pytest.approx(ahead.sigma_m, rel=0.25)


def test_a_banked_turn_that_hides_the_ground_is_no_straight_line(package) -> None:
    localizer, k = tracking(package)
    (east_m, north_m), heading = place(k - 1), 0.0
    turn_mps2 = 9.81 * math.tan(math.radians(40.0))
    for step in range(1, 71):
        heading += turn_mps2 / SPEED_MPS * 0.1
        east_m, north_m = (
            east_m + 0.1 * SPEED_MPS * math.cos(heading),
            north_m + 0.1 * SPEED_MPS * math.sin(heading),
        )
        at_ns = k * STEP_NS + step * STEP_NS // 5
        answer = localizer.process(
            Frame(seen(package, 0).image, at_ns, k + step), replace(state(k), at_ns=at_ns, roll_deg=40.0)
        )
        if isinstance(answer, NoFix):
            break
        assert math.dist((answer.east_m, answer.north_m), (east_m, north_m)) < 3.0 * answer.sigma_m + 2.0
    assert answer == NoFix(answer.at_ns, Reason.TILTED)


def test_a_match_that_contradicts_the_motion_is_not_taken_in(package) -> None:
    localizer, k = tracking(package)
    dark = Frame(np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8), (k + 1) * STEP_NS, k)
    localizer.process(dark, state(k))  # so that the camera's motion cannot explain it
    ahead = Frame(seen(package, k + 4).image, (k + 2) * STEP_NS, k + 1)
    answer = localizer.process(ahead, state(k + 1))
    assert answer.reason is Reason.IMPLAUSIBLE_JUMP
    assert error_m(answer, k + 1) < 3.0
