"""A parameter's value as the 32-bit float field of PARAM_VALUE and PARAM_SET carries it. Pure.

ArduPilot casts every type to a float. PX4 puts an integer's own bytes into the field, whatever float they then make:
its 14 arrives as 2e-44, its -1 as not-a-number. Source: MAVLink parameter protocol, "Parameter encoding".
"""

from __future__ import annotations

import enum
import math
import struct

# A larger whole number has no exact 32-bit float.
LARGEST_EXACT = 1 << 24


class ParameterType(enum.IntEnum):
    """MAVLink's MAV_PARAM_TYPE, as far as autopilots use it."""

    UINT8 = 1
    INT8 = 2
    UINT16 = 3
    INT16 = 4
    UINT32 = 5
    INT32 = 6
    REAL32 = 9

    @property
    def limits(self) -> tuple[float, float]:
        """Least and largest value."""
        if self is ParameterType.REAL32:
            return -3.4028234663852886e38, 3.4028234663852886e38
        bits = {"B": 8, "H": 16, "I": 32}[_LAYOUTS[self][1].upper()]
        return (0, 2**bits - 1) if _LAYOUTS[self][1].isupper() else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


_LAYOUTS = {
    ParameterType.UINT8: "<Bxxx",
    ParameterType.INT8: "<bxxx",
    ParameterType.UINT16: "<Hxx",
    ParameterType.INT16: "<hxx",
    ParameterType.UINT32: "<I",
    ParameterType.INT32: "<i",
}


def decode(field: float, kind: int, *, bytewise: bool) -> float | None:
    """The value that `field` carries for a MAV_PARAM_TYPE; `None` when it is none. `bytewise`: as PX4 does it."""
    layout = _LAYOUTS.get(kind) if bytewise else None  # type: ignore[call-overload]
    value = field if layout is None else float(struct.unpack(layout, struct.pack("<f", field))[0])
    return value if math.isfinite(value) else None


def encode(value: float, kind: int, *, bytewise: bool) -> float:
    """The field that carries `value`. Raises `ValueError` for one that the type, or the field, cannot hold."""
    if not math.isfinite(value):
        raise ValueError(f"{value} is no parameter")
    layout = _LAYOUTS.get(kind)  # type: ignore[call-overload]
    if layout is None:
        return value
    low, high = ParameterType(kind).limits
    if value != math.floor(value) or not low <= value <= high:
        raise ValueError(f"{value} is no {ParameterType(kind).name}")
    if not bytewise:
        if abs(value) > LARGEST_EXACT:
            raise ValueError(f"{value:.0f} has no exact float")
        return value
    packed = struct.pack(layout, int(value))
    field = float(struct.unpack("<f", packed)[0])
    if struct.pack("<f", field) != packed:
        # Processors turn a signalling not-a-number into a quiet one when they copy it.
        raise ValueError(f"{value:.0f} does not survive as a float's bytes")
    return field


def same(left: float, right: float) -> bool:
    """True when both are one value to a 32-bit float's precision: what an autopilot stores of 0.1 is not 0.1."""
    return abs(left - right) <= 1e-6 * max(1.0, abs(left), abs(right))
