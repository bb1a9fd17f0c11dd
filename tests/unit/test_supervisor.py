"""What systemd hears of the service: NOTIFY_SOCKET as systemd makes it, read back from a real socket."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.daemons import FakeFrames, FakeLink, FakeLocalizer
from tilefix.links.messages import HealthState
from tilefix.service.daemon import Daemon
from tilefix.service.supervisor import Supervisor

S = 1_000_000_000


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        yield listening


def environment(manager: socket.socket, **more: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "6000000", **more}


def heard(manager: socket.socket) -> list[str]:
    lines: list[str] = []
    while select.select([manager], [], [], 0.0)[0]:
        lines += manager.recv(4096).decode().split("\n")
    return lines


def test_ready_comes_with_the_first_completed_turn_and_once(manager: socket.socket) -> None:
    supervisor = Supervisor(environment(manager))
    assert heard(manager) == []
    supervisor.turned(0, HealthState.BOOT)
    supervisor.turned(S // 100, HealthState.BOOT)
    assert heard(manager) == ["READY=1", f"STATUS={HealthState.BOOT.value}", "WATCHDOG=1"]
    supervisor.stopping()
    assert heard(manager) == ["STOPPING=1"]
    supervisor.close()


def test_the_watchdog_is_fed_three_times_a_period(manager: socket.socket) -> None:
    supervisor = Supervisor(environment(manager))
    lines: list[str] = []
    for now_ns in range(0, 60 * S, S // 10):
        supervisor.turned(now_ns, HealthState.ACTIVE)
        lines += heard(manager)
    assert lines.count("WATCHDOG=1") == 30
    supervisor.close()


def test_what_is_broken_feeds_no_watchdog_though_its_loop_turns(manager: socket.socket) -> None:
    supervisor = Supervisor(environment(manager))
    supervisor.turned(0, HealthState.ACTIVE)
    heard(manager)
    for second in range(1, 60):
        supervisor.turned(second * S, HealthState.CRITICAL)
    assert heard(manager) == [f"STATUS={HealthState.CRITICAL.value}"]
    supervisor.turned(61 * S, HealthState.STANDBY)
    assert "WATCHDOG=1" in heard(manager)
    supervisor.close()


def test_what_could_not_be_told_is_told_with_the_next_turn(tmp_path: Path) -> None:
    place = tmp_path / "notify"
    supervisor = Supervisor({"NOTIFY_SOCKET": str(place)})
    supervisor.turned(0, HealthState.BOOT)  # nobody listens yet
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(place))
        listening.setblocking(False)
        supervisor.turned(S, HealthState.BOOT)
        assert heard(listening) == ["READY=1", f"STATUS={HealthState.BOOT.value}"]
    supervisor.close()


@pytest.mark.parametrize(("ours", "period_ns"), [(True, 6 * S), (False, 0)])
def test_the_watchdog_of_another_process_is_not_ours(manager: socket.socket, ours: bool, period_ns: int) -> None:
    supervisor = Supervisor(environment(manager, WATCHDOG_PID=str(os.getpid()) if ours else "1"))
    assert supervisor.period_ns == period_ns
    supervisor.close()


def test_the_abstract_namespace_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        name = f"tilefix-test-{os.getpid()}"
        listening.bind("\0" + name)
        listening.setblocking(False)
        supervisor = Supervisor({"NOTIFY_SOCKET": "@" + name})
        supervisor.turned(0, HealthState.BOOT)
        assert heard(listening)[0] == "READY=1"
        supervisor.close()


def test_nothing_happens_without_a_service_manager() -> None:
    supervisor = Supervisor({})
    supervisor.turned(0, HealthState.BOOT)
    supervisor.stopping()
    supervisor.close()
    supervisor.close()


def test_a_daemon_tells_of_its_turns_and_of_its_end(manager: socket.socket) -> None:
    supervisor = Supervisor(environment(manager))
    Daemon(FakeLocalizer(), FakeFrames([None] * 20), FakeLink(), supervisor=supervisor).run(threading.Event())
    lines = heard(manager)
    assert lines[0] == "READY=1"
    assert lines[-1] == "STOPPING=1"
    supervisor.close()


def test_what_served_for_half_a_minute_without_a_fault_is_proved_once(manager: socket.socket) -> None:
    proved: list[int] = []
    supervisor = Supervisor(environment(manager), proved=lambda: proved.append(1))
    states = [*[HealthState.BOOT] * 60, *[HealthState.STANDBY] * 20, HealthState.CRITICAL, *[HealthState.ACTIVE] * 30]
    for second, state in enumerate(states):
        supervisor.turned(second * S, state)
        heard(manager)
    assert proved == []
    for second in range(len(states), len(states) + 40):
        supervisor.turned(second * S, HealthState.ACTIVE)
        heard(manager)
    assert proved == [1]
    supervisor.close()
