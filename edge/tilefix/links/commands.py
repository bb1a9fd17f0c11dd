"""Commands for tilefix itself: what they ask for, and the answers. Pure.

Who may send one is decided before (`tilefix.links.gate`). MAVLink has no commands for a source of positions, so they
are its nearest: the one by which a ground station's map sets a position, and its numbers for users.
"""

from __future__ import annotations

import enum
import math
from typing import Any, NamedTuple

from tilefix.links.messages import Order

_DEGREES = 1e-7
_UNKNOWN = 0x7FFFFFFF
_LARGEST_SIGMA_M = 1e5


class Result(enum.Enum):
    """What became of a command; the values are MAVLink's MAV_RESULT."""

    ACCEPTED = 0
    TEMPORARILY_REJECTED = 1
    DENIED = 2
    UNSUPPORTED = 3
    FAILED = 4


class Command(enum.Enum):
    """What tilefix may be asked for; the values are MAVLink's MAV_CMD.

    HINT: it is near a place; `x`, `y` degrees in COMMAND_INT, param 3 one sigma in metres. HAND_OVER: param 1 is 0 to
    forbid it, 1 to leave it to tilefix, 2 to ask for it. PUBLISH: param 1 is 0 to send no positions, 1 to send them.
    """

    HINT = 43003  # MAV_CMD_EXTERNAL_POSITION_ESTIMATE
    HAND_OVER = 31010  # MAV_CMD_USER_1
    PUBLISH = 31011  # MAV_CMD_USER_2


class Hint(NamedTuple):
    """Where it is said to be."""

    lat_deg: float
    lon_deg: float
    sigma_m: float


def order_of(message: Any, sender: tuple[int, int], now_ns: int) -> Order:
    """A COMMAND_LONG or COMMAND_INT as an order: seven numbers, a place of COMMAND_INT in degrees."""
    params = [float(getattr(message, f"param{number}")) for number in range(1, 5)]
    if message.get_type() == "COMMAND_INT":
        params += [math.nan if value == _UNKNOWN else value * _DEGREES for value in (message.x, message.y)]
        params.append(float(message.z))
    else:
        params += [float(getattr(message, f"param{number}")) for number in (5, 6, 7)]
    return Order(now_ns, message.command, tuple(params), sender)


def command_of(order: Order) -> Command | None:
    """Which command an order is; `None` for one that tilefix does not know."""
    return next((command for command in Command if command.value == order.command), None)


def hint_of(order: Order) -> Hint | None:
    """The place that an order tells; `None` where it is none on Earth, or without a sigma that means something."""
    lat_deg, lon_deg, sigma_m = order.params[4], order.params[5], order.params[2]
    if not (abs(lat_deg) <= 85.0 and abs(lon_deg) <= 180.0 and 1.0 <= sigma_m <= _LARGEST_SIGMA_M):
        return None
    return Hint(lat_deg, lon_deg, sigma_m)


def choice_of(order: Order, largest: int) -> int | None:
    """The choice in param 1, from 0 to `largest`; `None` for anything else."""
    value = order.params[0]
    return int(value) if 0.0 <= value <= largest and value == int(value) else None
