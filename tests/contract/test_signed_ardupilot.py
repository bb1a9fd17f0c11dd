"""Signing as ArduPilot itself signs and checks: with its simulator, where TILEFIX_ARDUPILOT names source or binary."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pymavlink.dialects.v20 import ardupilotmega as mavlink

from support.tools import load_tool
from tilefix.errors import LinkError
from tilefix.links.mavlink import MavlinkLink
from tilefix.links.messages import Attitude, CommandResult, LinkMessage
from tilefix.links.signing import Trust
from tilefix.links.signingfiles import Bookkeeper, open_signing, save_key
from tilefix.links.transport import Udp
from tilefix.timing import MonotonicClock

KEY = bytes(range(1, 33))
PATIENCE_S = 90.0

sitl_process = load_tool("sitl_process")


def _binary() -> Path | None:
    """The program that TILEFIX_ARDUPILOT names, in whatever folder."""
    place = os.environ.get("TILEFIX_ARDUPILOT")
    try:
        return None if not place else sitl_process.find_binary(Path(place), sitl_process.COPTER)
    except LinkError:
        return None


BINARY = _binary()
pytestmark = pytest.mark.skipif(BINARY is None, reason="TILEFIX_ARDUPILOT names no arducopter")


class Rig:
    """A copter whose first port is a ground station's, and whose second is tilefix's."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.clock, self.folder = MonotonicClock(), folder
        self.ground = Udp(("127.0.0.1", 0), None)
        self.ours = Udp(("127.0.0.1", 0), None)
        stack.callback(self.ground.close)
        stack.callback(self.ours.close)
        defaults = [sitl_process.find_defaults(BINARY, sitl_process.COPTER)]
        start = sitl_process.Start(47.0, 8.0, 450.0)
        ports = (self.ground.port, self.ours.port, sitl_process.free_port())
        copter = sitl_process.Sitl(BINARY, sitl_process.COPTER, defaults, start, folder / "sitl", ports)
        stack.callback(copter.close)
        self._sender = mavlink.MAVLink(None, srcSystem=255, srcComponent=190)

    def sign(self) -> None:
        """Gives the autopilot the key, over its first port, as a ground station does."""
        deadline = time.monotonic() + PATIENCE_S
        while not (heard := self.ground.read()):
            assert time.monotonic() < deadline, "SITL does not speak"
            time.sleep(0.05)
        stamp = round((time.time() - 1_420_070_400) * 1e5)
        message = mavlink.MAVLink_setup_signing_message(1, 1, list(KEY), stamp)
        assert self.ground.write(bytes(message.pack(self._sender)), heard[0][1])

    def keeper(self, name: str, key: bytes) -> Bookkeeper:
        path = self.folder / name
        if not path.exists():
            save_key(path, key)
        return open_signing(path, None, required=True, now_ns=self.clock.now_ns())

    def hear(self, link: MavlinkLink, seconds: float, enough: Callable[[list[LinkMessage]], bool]) -> list[LinkMessage]:
        heard: list[LinkMessage] = []
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not enough(heard):
            heard += link.poll()
            self.ground.read()
            time.sleep(0.01)
        return heard


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with ExitStack() as stack:
        made = Rig(tmp_path, stack)
        made.sign()
        yield made


def _obeyed(heard: list[LinkMessage]) -> bool:
    """ArduPilot accepted a command, and told its attitude."""
    accepted = any(isinstance(one, CommandResult) and one.accepted for one in heard)
    return accepted and sum(isinstance(one, Attitude) for one in heard) > 20


def test_ardupilot_and_tilefix_trust_each_others_signatures(rig: Rig) -> None:
    for _ in range(2):  # again, as after a restart, from the book of the first time
        keeper = rig.keeper("key", KEY)
        assert _obeyed(rig.hear(MavlinkLink(rig.ours, rig.clock, signing=keeper), PATIENCE_S, _obeyed))
        assert keeper.signing.counts[Trust.FORGED] == 0
        keeper.close(rig.clock.now_ns())


def test_without_the_key_ardupilot_obeys_nothing_and_with_another_nothing_is_believed(rig: Rig) -> None:
    # First with the key, so that it surely signs.
    keeper = rig.keeper("key", KEY)
    assert _obeyed(rig.hear(MavlinkLink(rig.ours, rig.clock, signing=keeper), PATIENCE_S, _obeyed))
    keeper.close(rig.clock.now_ns())
    heard = rig.hear(MavlinkLink(rig.ours, rig.clock), 5.0, _obeyed)
    assert any(isinstance(one, Attitude) for one in heard)
    assert not any(isinstance(one, CommandResult) for one in heard)
    other = rig.keeper("other", bytes(range(2, 34)))
    assert rig.hear(MavlinkLink(rig.ours, rig.clock, signing=other), 5.0, bool) == []
    assert other.signing.counts[Trust.FORGED] > 0
    other.close(rig.clock.now_ns())
