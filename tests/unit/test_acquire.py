"""One frame searched for over the whole map: what it tells the belief, and when a place is settled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import AGL_M, CAMERA, noise_ground, small_map
from tilefix.camera import Mount
from tilefix.localization import acquire as module
from tilefix.localization.acquire import Acquisition
from tilefix.localization.belief import Belief
from tilefix.localization.look import Look, Looker
from tilefix.localization.settings import LocalizerSettings
from tilefix.maps.package import MapPackage
from tilefix.maps.tileindex import TileIndex
from tilefix.simulation.camera import render_view
from tilefix.types import Frame, Reason, UInt8Array, VehicleState

SETTINGS = LocalizerSettings()
PLACE = 30.0, 15.0


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> MapPackage:
    return small_map(tmp_path_factory.mktemp("maps") / "here", ThumbnailEmbedder(), side_px=1000)


def acquisition(package: MapPackage) -> tuple[Acquisition, Belief]:
    belief = Belief(package.grid, 6.0)
    return Acquisition(package, TileIndex.open(package), ThumbnailEmbedder(), belief, SETTINGS), belief


def seen(package: MapPackage, told_deg: float, ground: UInt8Array | None = None) -> Look:
    """A frame at `PLACE`, the nose at 90 degrees and said to be elsewhere; over other `ground` than the map's."""
    pixels = package.imagery if ground is None else ground
    image = render_view(pixels, package.grid, CAMERA, Mount(), *PLACE, AGL_M, 0.0, 0.0, 90.0)
    state = VehicleState(1, 0.0, 0.0, told_deg, AGL_M)
    look = Looker(package, CAMERA, Mount(), SETTINGS).look(Frame(image, 1, 0), state, 0.0, 1.0)
    assert isinstance(look, Look)
    return look


@pytest.mark.parametrize("told_deg", [82.0, 98.0])
def test_a_place_found_under_another_heading_gets_the_evidence_of_that(package, told_deg: float) -> None:
    gathered = []
    for heading_deg in (90.0, told_deg):
        acquire, belief = acquisition(package)
        look = seen(package, heading_deg)
        found = acquire.search(look, acquire.tile_evidence(look, placed=False), 0.25)
        assert found.match is not None
        assert found.match.turn_deg == pytest.approx(90.0 - heading_deg, abs=0.6)
        gathered.append(belief.evidence_near(*PLACE))
    # No more either: one look is one look, under whatever errors it fits.
    assert 1.05 * gathered[0] > gathered[1] > 0.8 * gathered[0] > SETTINGS.settle_evidence


def test_a_place_is_settled_only_where_the_match_is(package) -> None:
    acquire, belief = acquisition(package)
    look = seen(package, 90.0)
    for _ in range(3):
        found = acquire.search(look, acquire.tile_evidence(look, placed=False), 0.5)
    assert found.settled
    assert found.match is not None
    mode = belief.mode()
    assert acquire._settled(mode, found.match, look)
    for away_m, settled in ((8.0, True), (20.0, False)):
        peak = replace(found.match.peak, east_m=found.match.peak.east_m + away_m)
        assert acquire._settled(mode, replace(found.match, peak=peak), look) is settled
    assert not acquire._settled(replace(mode, probability=0.99), found.match, look)


def test_what_a_hint_alone_holds_is_not_settled(package) -> None:
    acquire, belief = acquisition(package)
    belief.start_near(*PLACE, 3.0)
    look = seen(package, 90.0)
    tiles = acquire.tile_evidence(look, placed=True)
    first = acquire.search(look, tiles, 0.0)
    assert belief.mode().probability > SETTINGS.settle_probability
    assert belief.evidence_near(*PLACE) < SETTINGS.settle_evidence
    assert not first.settled
    assert first.reason is Reason.AMBIGUOUS
    assert acquire.search(look, tiles, 0.5).settled


def test_what_was_searched_under_a_wrong_heading_speaks_against_no_place(package) -> None:
    """12 degrees are more than a search bears: the match comes of trying headings out."""
    elsewhere = -150.0, -120.0
    for told_deg, against in ((90.0, True), (78.0, False)):
        acquire, belief = acquisition(package)
        look = seen(package, told_deg)
        found = acquire.search(look, acquire.tile_evidence(look, placed=False), 0.25)
        assert found.match is not None
        assert found.match.turn_deg == pytest.approx(90.0 - told_deg, abs=1.0)
        assert (belief.evidence_near(*elsewhere) < 0.0) is against


def test_errors_that_were_assumed_are_given_up_at_each_third_frame_that_fits_nowhere(package) -> None:
    acquire, _ = acquisition(package)
    look = seen(package, 90.0, noise_ground(4711, package.grid.width_px))
    found = [acquire.search(look, acquire.tile_evidence(look, placed=False), 0.25) for _ in range(7)]
    assert [one.match for one in found] == [None] * 7
    assert [one.plain for one in found] == [False, False, True, False, False, True, False]


@pytest.mark.parametrize(
    ("usual_z", "other_z", "taken"), [(8.0, 9.4, False), (8.0, 9.6, True), (11.9, 13.5, True), (12.1, 20.0, False)]
)
def test_of_any_heading_a_clearly_better_one_is_taken_until_the_match_is_clear_itself(
    package, monkeypatch, usual_z: float, other_z: float, taken: bool
) -> None:
    acquire, belief = acquisition(package)
    look = seen(package, 90.0)
    found = acquire.search(look, acquire.tile_evidence(look, placed=False), 0.0)
    assert found.match is not None
    best, other = (
        replace(found.match, plain_z_score=z, peak=replace(found.match.peak, z_score=z)) for z in (usual_z, other_z)
    )
    belief.start_uniform()
    monkeypatch.setattr(module, "try_out", lambda *given: best)
    monkeypatch.setattr(acquire._circle, "propose", lambda *given: (other, look))
    found = acquire.search(look, acquire.tile_evidence(look, placed=False), 0.0, any_heading=True)
    assert not found.settled
    assert found.match is (other if taken else best)
    assert (belief.evidence_near(-150.0, -120.0) < 0.0) is not taken


@pytest.mark.parametrize("held", [True, False])
def test_a_heading_that_is_carried_is_kept_while_a_place_holds_the_belief(package, monkeypatch, held: bool) -> None:
    acquire, belief = acquisition(package)
    if held:
        belief.start_near(*PLACE, 3.0)
    look = seen(package, 90.0, noise_ground(4711, package.grid.width_px))
    asked = []
    monkeypatch.setattr(acquire._circle, "propose", lambda *given: asked.append(given))
    tiles = acquire.tile_evidence(look, placed=held)
    found = [acquire.search(look, tiles, 0.0, any_heading=True) for _ in range(3)]
    assert (belief.mode().probability > 0.5) is held
    assert len(asked) == (0 if held else 3)
    assert [one.plain for one in found] == [False, False, not held]
