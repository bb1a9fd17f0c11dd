"""The receivers that ArduPilot has, of which some are fed by MAVLink, and which one it flies by. Pure.

A driver is made for each type when the autopilot starts, or when a type that was 0 is set; another change waits for a
reboot, save that 0 ends a driver at once. As flown with 4.7-dev.
"""

from __future__ import annotations

from tilefix.simulation.acceptance.firmware import Firmware
from tilefix.simulation.acceptance.gnss import FED_BY_MAVLINK, MavlinkReceiver
from tilefix.simulation.acceptance.parameters import Parameters
from tilefix.simulation.acceptance.selection import BEST, Receiver, ReceiverSelection

OWN = 0
_SLOTS = 2


class Receivers:
    """`fed`: the ones that GPS_INPUT feeds, by number; `present`: all of them."""

    def __init__(self, firmware: Firmware, parameters: Parameters, own: Receiver) -> None:
        self.fed: dict[int, MavlinkReceiver] = {}
        self.present: dict[int, Receiver] = {}
        self._firmware = firmware
        self._parameters = parameters
        self._own = own
        self._selection = ReceiverSelection()
        self._make()

    def _type(self, number: int) -> int:
        return int(self._parameters.effective(self._firmware.receiver_type(number), 1.0 if number == OWN else 0.0))

    def _make(self) -> None:
        for number in range(_SLOTS):
            wanted = self._type(number)
            if wanted == 0:
                self.present.pop(number, None)
                self.fed.pop(number, None)
            elif number not in self.present:
                if wanted == FED_BY_MAVLINK:
                    self.fed[number] = self.present[number] = MavlinkReceiver(number, self._firmware)
                elif number == OWN:
                    self.present[number] = self._own

    def update(self, now_s: float) -> int:
        """Looks at parameters and silences; gives the number of the receiver in use."""
        self._make()
        for receiver in self.fed.values():
            receiver.watch(now_s)
        mode = int(self._parameters.effective("GPS_AUTO_SWITCH", BEST))
        return self._selection.update(now_s, self.present, mode, int(self._parameters.effective("GPS_PRIMARY", OWN)))

    @property
    def primary(self) -> int:
        """The number of the receiver in use."""
        return self._selection.primary
