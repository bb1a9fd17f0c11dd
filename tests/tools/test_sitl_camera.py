"""tools/sitl_camera.py: the truth between two messages, the picture of it, and the socket it leaves by."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from support.clocks import ManualClock
from support.embedders import ThumbnailEmbedder
from support.scenes import small_map
from support.sitl import FRAME, attitude, checkered, sim_state
from support.tools import load_tool
from tilefix.camera import CameraModel
from tilefix.cameras import CameraRequest, open_camera
from tilefix.errors import CameraError, MapError
from tilefix.links.timesync import BootTime
from tilefix.simulation.sight import Scenery
from tilefix.timing import MonotonicClock

sitl_camera = load_tool("sitl_camera")
sitl_ground = load_tool("sitl_ground")
sitl_serve = load_tool("sitl_serve")
sitl_truth = load_tool("sitl_truth")
Heard = load_tool("sitl_mavlink").Heard

S, MS = 1_000_000_000, 1_000_000
CAMERA = CameraModel.from_hfov(64, 48, 60.0)


class FakePeer:
    """A `sitl_mavlink.Peer` of a list; the autopilot booted at `zero_ns`."""

    def __init__(self, zero_ns: int = 0) -> None:
        self.boot = BootTime()
        self.boot.round_trip(zero_ns + 5 * S, 5 * S, zero_ns + 5 * S)
        self.heard: list = []

    def poll(self) -> list:
        heard, self.heard = self.heard, []
        return heard


def _ground(plane_amsl_m: float | None = 0.0):
    pixels, grid = checkered()
    return sitl_ground.Ground(Scenery(pixels, grid), FRAME, plane_amsl_m)


def _tell(track, boot_ms: int, **motion: float) -> None:
    at_ns = 7 * S + boot_ms * MS
    track.take(Heard(attitude(boot_ms), at_ns))
    track.take(Heard(sim_state(**motion), at_ns + MS))


def test_truth_between_two_messages_keeps_place_velocity_and_the_short_way_round() -> None:
    track = sitl_truth.TruthTrack()
    # 10 m/s east at first, 20 m/s at the end of 100 ms: 1.5 m of way, of which 0.625 m are done half way.
    _tell(track, 1000, east_m=0.0, east_mps=10.0, yaw_deg=350.0, amsl_m=60.0)
    _tell(track, 1100, east_m=1.5, east_mps=20.0, yaw_deg=20.0, amsl_m=62.0)
    truth = track.at(1050 * MS)
    east_m, north_m = FRAME.to_local(truth.lat_deg, truth.lon_deg)
    assert east_m == pytest.approx(0.625, abs=0.02)  # lat_int and lon_int resolve a centimetre
    assert north_m == pytest.approx(0.0, abs=0.02)
    assert truth.east_mps == pytest.approx(15.0)
    assert truth.yaw_deg == pytest.approx(5.0)
    assert truth.amsl_m == pytest.approx(61.0)


def test_truth_is_dated_by_the_attitude_before_it_and_unknown_outside() -> None:
    track = sitl_truth.TruthTrack()
    assert track.take(Heard(sim_state(), 7 * S)) is None  # no stamp yet
    _tell(track, 1000)
    _tell(track, 1020)
    assert track.newest_ns == 1020 * MS
    assert track.at(999 * MS) is None
    assert track.at(1021 * MS) is None
    # One whose ATTITUDE was lost counts as of its arrival.
    assert track.take(Heard(sim_state(), 7 * S + 1060 * MS)).at_ns == 1060 * MS
    # Across a gap nothing is known, and after a reboot nothing of before.
    _tell(track, 2000)
    assert track.at(1500 * MS) is None
    _tell(track, 20)
    assert track.at(1010 * MS) is None


def test_the_camera_exposes_at_its_rate_as_soon_as_the_truth_is_known() -> None:
    clock = ManualClock(107 * S)
    peer = FakePeer(zero_ns=100 * S)
    plan = sitl_camera.CameraPlan(CAMERA, rate_hz=10.0, latency_ms=150.0)
    camera = sitl_camera.SitlCamera(peer, _ground(), plan, clock)
    frames = []
    for step in range(60):  # 20 ms each
        boot_ms = 7000 + 20 * step
        peer.heard = [
            Heard(attitude(boot_ms), clock.now_ns()),
            Heard(sim_state(east_m=-50.0 + 0.2 * step, east_mps=10.0, yaw_deg=0.0), clock.now_ns()),
        ]
        for image, exposed_ns in camera.turn():
            assert clock.now_ns() - exposed_ns >= 150 * MS
            frames.append((image, exposed_ns))
        clock.advance_s(0.02)
    assert len(frames) == 11
    stamps = np.diff([exposed_ns for _, exposed_ns in frames])
    assert (stamps == 100 * MS).all()
    # The ground's red grows by 255 over 200 m eastwards: at 10 m/s a picture is 1.275 redder than the one before.
    reds = np.array([image[20:28, 28:36, 0].mean() for image, _ in frames])
    assert np.diff(reds).mean() == pytest.approx(1.275, abs=0.1)
    first_s = (frames[0][1] - 107 * S) / S
    assert reds[0] == pytest.approx(255.0 * (50.0 + 10.0 * first_s) / 200.0, abs=1.5)


def test_the_picture_stands_on_the_ground_below_the_aircraft() -> None:
    clock = ManualClock()
    plan = sitl_camera.CameraPlan(CAMERA)
    camera = sitl_camera.SitlCamera(FakePeer(), _ground(20.0), plan, clock)
    track = sitl_truth.TruthTrack()
    _tell(track, 1000, amsl_m=80.0)
    near = camera.picture(track.at(1000 * MS))
    _tell(track, 1100, amsl_m=140.0)
    far = camera.picture(track.at(1100 * MS))

    def spread(image) -> float:
        return float(np.ptp(image[24, :, 0].astype(float)))

    # 60 m above ground the picture is 69 m wide: red grows by 88; from twice as high by twice as much.
    assert spread(near) == pytest.approx(88.0, abs=4.0)
    assert spread(far) == pytest.approx(2.0 * spread(near), abs=6.0)


def test_without_a_stamp_pictures_leave_without_one() -> None:
    clock = ManualClock(107 * S)
    peer = FakePeer(zero_ns=100 * S)
    camera = sitl_camera.SitlCamera(peer, _ground(), sitl_camera.CameraPlan(CAMERA, stamped=False), clock)
    given = []
    for step in range(12):
        peer.heard = [Heard(attitude(7000 + 20 * step), clock.now_ns()), Heard(sim_state(), clock.now_ns())]
        given += camera.turn()
        clock.advance_s(0.02)
    assert given
    assert all(exposed_ns is None for _, exposed_ns in given)


def test_a_camera_dies_and_comes_back_and_the_daemons_source_reads_it_again(tmp_path: Path) -> None:
    path = tmp_path / "camera.sock"
    clock = MonotonicClock()
    server = sitl_serve.FrameServer(path)
    source = open_camera("unix:camera.sock", CameraRequest(64, 48, base=tmp_path), clock)
    image = np.full((48, 64, 3), 9, np.uint8)

    def fed() -> bool:
        server.send(image, clock.now_ns())
        frame = source.read(0.02)
        return frame is not None and frame.image[0, 0, 0] == 9

    try:
        assert any(fed() for _ in range(500))
        server.close()
        assert not server.alive
        assert not path.exists()
        while source.read(0.05) is not None:
            pass
        server.open()
        assert any(fed() for _ in range(500))
    finally:
        source.close()
        server.close()


def test_serving_ends_when_told_and_dies_when_told(tmp_path: Path) -> None:
    server = sitl_serve.FrameServer(tmp_path / "camera.sock")
    stop, toggle = threading.Event(), threading.Event()

    class Camera:
        turns = 0

        def turn(self) -> list:
            self.turns += 1
            if self.turns == 3:
                toggle.set()
            if self.turns == 6:
                stop.set()
            return [(np.zeros((48, 64, 3), np.uint8), None)]

    assert sitl_camera.serve(Camera(), server, stop, toggle) == 3  # the later three found nobody alive
    assert not server.alive


def test_a_socket_that_nobody_can_make_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="cannot listen"):
        sitl_serve.FrameServer(tmp_path / "missing" / "camera.sock")
    with pytest.raises(CameraError, match="107 bytes"):
        sitl_serve.FrameServer(tmp_path / ("x" * 120))


def test_kept_ground_comes_back_as_it_was(tmp_path: Path) -> None:
    ground = _ground(None)
    sitl_ground.keep_ground(ground, tmp_path / "ground")
    again = sitl_ground.open_ground(tmp_path / "ground", tmp_path)
    np.testing.assert_array_equal(again.scenery.pixels, ground.scenery.pixels)
    assert again.scenery.grid == ground.scenery.grid
    assert again.frame == FRAME
    (tmp_path / "ground" / "ground.json").write_text("{}")
    with pytest.raises(MapError, match="make it again"):
        sitl_ground.open_ground(tmp_path / "ground", tmp_path)


def test_a_map_package_is_ground_too(tmp_path: Path) -> None:
    package = small_map(tmp_path / "map", ThumbnailEmbedder())
    ground = sitl_ground.open_ground(tmp_path / "map", tmp_path)
    np.testing.assert_array_equal(ground.scenery.pixels, package.imagery)
    with pytest.raises(MapError, match="does not exist"):
        sitl_ground.open_ground(tmp_path / "nothing", tmp_path)


def test_the_season_and_the_sun_can_be_asked_for() -> None:
    look = sitl_ground.Weather("winter", 200.0, 20.0).look(9001)
    assert (look.season.name, look.sun_azimuth_deg, look.sun_elevation_deg) == ("WINTER", 200.0, 20.0)
    with pytest.raises(MapError, match="spring"):
        sitl_ground.Weather("monsoon").look(9001)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--map", "/nowhere"], "does not exist"),
        (["--world", "9001", "--rate-hz", "0"], "--rate-hz"),
        (["--world", "9001", "--width", "2"], "--width"),
        (["--world", "9001", "--season", "monsoon"], "no season"),
    ],
)
def test_bad_input_ends_with_one_clear_line(
    more: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sitl_camera.signal, "signal", lambda *_: None)
    argv = ["--link", "udpin:127.0.0.1:0", "--serve", str(tmp_path / "s"), *more]
    assert sitl_camera.main(argv) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert said in lines[0]
