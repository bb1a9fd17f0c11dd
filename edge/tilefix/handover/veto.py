"""What the operator wishes: by a switch of the transmitter, or by a command addressed to tilefix. Pure.

The last word counts. Who may give commands at all is the link's to judge (`tilefix.links`)."""

from __future__ import annotations

from tilefix.handover.machine import Wish
from tilefix.links.messages import Order, RcChannels

USER_1 = 31010  # MAV_CMD_USER_1
_HIGH_US, _LOW_US = 1700, 1300
_PLAUSIBLE_US = range(800, 2201)


class Operator:
    """Follows orders and the switch."""

    def __init__(self, veto_channel: int = 0) -> None:
        """`veto_channel`: counted from 1; 0 for none."""
        self._channel = veto_channel
        self._high: bool | None = None
        self.wish = Wish.AUTOMATIC

    def hear(self, message: Order | RcChannels) -> bool:
        """Takes in an order or the switch; True when the message was an order that is understood."""
        if isinstance(message, RcChannels):
            self._switch(message)
            return False
        if message.command != USER_1 or not message.params or message.params[0] not in (0.0, 1.0, 2.0):
            return False
        self.wish = Wish(int(message.params[0]))
        return True

    def _switch(self, channels: RcChannels) -> None:
        """High is a veto, low takes it back; between, and where the channel is not there, nothing changes."""
        if not 0 < self._channel <= len(channels.pwm_us):
            return
        pwm_us = channels.pwm_us[self._channel - 1]
        if pwm_us not in _PLAUSIBLE_US or _LOW_US < pwm_us < _HIGH_US:
            return
        high = pwm_us >= _HIGH_US
        if high == self._high:
            return
        if high or self._high:
            self.wish = Wish.VETO if high else Wish.AUTOMATIC
        self._high = high
