"""An autopilot stand-in that speaks real MAVLink 2 over a flight that loses its GNSS when told to.

It takes and refuses positions by ArduPilot's own rules (`tilefix.simulation.acceptance`). Deterministic, without clock,
thread or socket; `tilefix.simulation.live` runs it in real time over UDP.
"""

from __future__ import annotations

from typing import Any

from pymavlink.dialects.v20 import ardupilotmega as mavlink

from tilefix.geodesy import LocalFrame
from tilefix.links.messages import AutopilotKind
from tilefix.simulation.acceptance.companionclock import CompanionClock
from tilefix.simulation.flying import TICK_NS, AutopilotSettings, Flying
from tilefix.simulation.orders import Orders
from tilefix.simulation.parameters import Answer
from tilefix.simulation.telemetry import RATES_HZ, Telemetry
from tilefix.simulation.uplink import LOCAL_POSITIONS, global_position, gps_input, local_position
from tilefix.simulation.vehicle import Course, SimulatedVehicle

_BOOTS_NS = 2_000_000_000
_TIMESYNC_TICKS = 10
_ORIGIN = mavlink.MAVLINK_MSG_ID_GPS_GLOBAL_ORIGIN


class SimulatedAutopilot:
    """`receive` takes bytes, `step` flies on to a time and gives the packets sent on the way; `flight` is the truth.

    `link_cut`: nothing is heard or sent while it is set. `companions`: heartbeats heard by (system, component);
    `texts`: the STATUSTEXTs heard; `malformed`: bad packets; `telemetry.rc_pwm_us`: the pilot's channels.
    """

    def __init__(
        self,
        vehicle: SimulatedVehicle,
        course: Course,
        frame: LocalFrame,
        *,
        start_ns: int,
        seed: int,
        settings: AutopilotSettings | None = None,
    ) -> None:
        self.settings = settings or AutopilotSettings()
        self.fly(Flying(vehicle, course, frame, start_ns=start_ns, seed=seed, settings=self.settings))
        self.link_cut = False
        self.companions: dict[tuple[int, int], int] = {}
        self.texts: list[str] = []
        self.malformed = 0
        self._told = 0
        self._boot_ns = round(self.settings.boot_offset_s * 1e9)
        self._booted_ns = start_ns
        self._silent_until_ns = start_ns
        self._restarts = False
        self._is_px4 = self.settings.firmware.kind is AutopilotKind.PX4  # asks for the time, and tells origins once
        self._told_origin = self.flight.nav.origin.place
        self._sender = mavlink.MAVLink(None, srcSystem=self.settings.system_id, srcComponent=1)
        self._parser = mavlink.MAVLink(None)
        self._parser.robust_parsing = True
        self._companion = CompanionClock()
        self._outbox: list[bytes] = []
        self._usual_streams()

    def fly(self, flight: Flying) -> None:
        """Flies this flight from now on: its own from the start, or another one, such as a recorded one."""
        self.flight = flight
        self.telemetry = Telemetry(flight)
        self._orders = Orders(flight, self)

    def _usual_streams(self) -> None:
        self._intervals_s = {number: (1.0 / rate if rate else 0.0) for number, rate in RATES_HZ.items()}
        self._due_s = dict.fromkeys(RATES_HZ, self.flight.now_s)

    @property
    def now_ns(self) -> int:
        """The instant flown to."""
        return self.flight.start_ns + self.flight.ticks * TICK_NS

    def step(self, now_ns: int) -> list[bytes]:
        """Flies on to `now_ns` and gives every packet sent on the way, replies included."""
        flight = self.flight
        if self._restarts:
            self.restart()
        while self.now_ns + TICK_NS <= now_ns:
            flight.tick()
            for line in flight.events[self._told :]:
                self.say(line)
            self._told = len(flight.events)
            if self._is_px4 and flight.ticks % _TIMESYNC_TICKS == 0:
                self._send(mavlink.MAVLink_timesync_message(0, self.boot_ns(self.now_ns)))
            for number, interval_s in self._intervals_s.items():
                if interval_s > 0.0 and flight.now_s >= self._due_s[number] - 1e-9:
                    self._due_s[number] = max(self._due_s[number] + interval_s, flight.now_s - interval_s)
                    if not (self._is_px4 and number == _ORIGIN and flight.nav.origin.place == self._told_origin):
                        self.send_message(number)
        sent, self._outbox = self._outbox, []
        return sent

    def boot_ns(self, at_ns: int) -> int:
        """Its own clock, which started at another time and runs a little fast."""
        return self._boot_ns + round((at_ns - self._booted_ns) * (1.0 + self.settings.clock_drift))

    def restart(self) -> None:
        """Starts the autopilot anew, as after a fault or MAV_CMD_PREFLIGHT_REBOOT_SHUTDOWN: it is silent for two
        seconds, its clock begins at zero, streams and origin are forgotten, and every parameter is in force."""
        self.flight.reboot()
        self._told, self._restarts = 0, False
        self._boot_ns, self._booted_ns = 0, self.now_ns
        self._silent_until_ns = self.now_ns + _BOOTS_NS
        self._companion = CompanionClock()
        self._told_origin = None
        self._usual_streams()

    def restart_soon(self) -> None:
        """Starts anew with the next step, once what it has to say is out."""
        self._restarts = True

    # What comes in ----------------------------------------------------------------------------------------------

    def receive(self, data: bytes, now_ns: int) -> None:
        """Takes bytes that arrived at `now_ns`; replies leave with the next `step`."""
        if self.link_cut or self.now_ns < self._silent_until_ns:
            return
        for message in self._parser.parse_buffer(data) or []:
            self._take(message, now_ns)

    def _take(self, message: Any, now_ns: int) -> None:
        kind = message.get_type()
        if kind == "BAD_DATA":
            self.malformed += 1
        elif kind == "HEARTBEAT":
            sender = (message.get_srcSystem(), message.get_srcComponent())
            self.companions[sender] = self.companions.get(sender, 0) + 1
        elif kind == "GPS_INPUT":
            self.flight.take_position(gps_input(message))
        elif kind in LOCAL_POSITIONS:
            attitude_deg = self.flight.sensed_attitude_deg() if self._is_px4 else None
            self.flight.take_local(local_position(message, attitude_deg))
        elif kind == "GLOBAL_POSITION_SENSOR":
            self.flight.take_global(global_position(message))
        elif kind == "TIMESYNC":
            self._timesync(message, now_ns)
        elif kind == "STATUSTEXT":
            self.texts.append(message.text)
        elif getattr(message, "target_system", 0) in (0, self.settings.system_id):
            self._obey(kind, message)

    def _timesync(self, message: Any, now_ns: int) -> None:
        """Answers a question; an answer to its own tells what the companion's clock is."""
        if message.tc1 == 0:
            self._send(mavlink.MAVLink_timesync_message(self.boot_ns(now_ns), message.ts1))
        else:
            # The flight's time began when the boot clock showed this.
            began_ns = self.boot_ns(now_ns) - (now_ns - self.flight.start_ns)
            self._companion.answered(message.ts1 - began_ns, message.tc1, now_ns - self.flight.start_ns)
            self.flight.nav.clock_offset_s = self._companion.offset_s

    def _obey(self, kind: str, message: Any) -> None:
        table = self.flight.parameters
        if kind in ("COMMAND_LONG", "COMMAND_INT"):
            result = self._orders.obey(message)
            sender = (message.get_srcSystem(), message.get_srcComponent())
            self._send(mavlink.MAVLink_command_ack_message(message.command, result, 0, 0, *sender))
        elif kind == "PARAM_REQUEST_READ":
            self._answer(table.read(message.param_id, message.param_index))
        elif kind == "PARAM_REQUEST_LIST":
            for answer in table.read_all():
                self._answer(answer)
        elif kind == "PARAM_SET":
            self._answer(table.set(message.param_id, message.param_value, message.param_type))
        elif kind == "SET_GPS_GLOBAL_ORIGIN":
            place = (message.latitude / 1e7, message.longitude / 1e7, message.altitude / 1e3)
            if self.flight.nav.set_origin(*place):
                self.send_message(mavlink.MAVLINK_MSG_ID_GPS_GLOBAL_ORIGIN)

    # What goes out ----------------------------------------------------------------------------------------------

    def say(self, line: str) -> None:
        """Sends a STATUSTEXT."""
        self._send(mavlink.MAVLink_statustext_message(mavlink.MAV_SEVERITY_CRITICAL, line.encode()[:50]))

    def set_interval(self, number: int, interval_us: float) -> None:
        """Sends a message every `interval_us`: 0 as often as usual, below never."""
        usual_s = 1.0 / RATES_HZ[number] if RATES_HZ[number] else 0.0
        self._intervals_s[number] = usual_s if interval_us == 0 else max(interval_us / 1e6, 0.0)
        self._due_s[number] = self.flight.now_s

    def send_message(self, number: int) -> bool:
        """Sends the message of that number as it stands now; false for one that it does not have."""
        if number == _ORIGIN:
            self._told_origin = self.flight.nav.origin.place
        message = self.telemetry.message(number, self.boot_ns(self.now_ns) // 1_000_000)
        if message is not None:
            self._send(message)
        return message is not None

    def _answer(self, answer: Answer | None) -> None:
        if answer is not None:
            name = answer.name.encode()
            self._send(mavlink.MAVLink_param_value_message(name, answer.field, answer.kind, answer.count, answer.index))

    def _send(self, message: Any) -> None:
        if self.link_cut or self.now_ns < self._silent_until_ns:
            return
        self._outbox.append(bytes(message.pack(self._sender)))
        self._sender.seq = (self._sender.seq + 1) % 256
