"""Parameters survive their way through a float field."""

from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilefix.links.parametercoding import LARGEST_EXACT, ParameterType, decode, encode, same

INTEGERS = [kind for kind in ParameterType if kind is not ParameterType.REAL32]


@st.composite
def whole_values(draw: st.DrawFn) -> tuple[ParameterType, int]:
    kind = draw(st.sampled_from(INTEGERS))
    low, high = kind.limits
    return kind, draw(st.integers(int(low), int(high)))


def _signalling(kind: ParameterType, value: int) -> bool:
    """True for the bytes of a not-a-number without its quiet bit."""
    if kind not in (ParameterType.INT32, ParameterType.UINT32):
        return False
    bits = value & 0xFFFFFFFF
    return bits & 0x7F800000 == 0x7F800000 and bits & 0x007FFFFF != 0 and not bits & 0x00400000


@given(whole_values())
def test_a_whole_number_comes_back_bytewise_or_is_refused(given_value: tuple[ParameterType, int]) -> None:
    kind, value = given_value
    try:
        field = encode(value, kind, bytewise=True)
    except ValueError:
        assert _signalling(kind, value)
        return
    assert decode(struct.unpack("<f", struct.pack("<f", field))[0], kind, bytewise=True) == value


@given(whole_values())
def test_a_whole_number_comes_back_by_cast_while_a_float_can_hold_it(given_value: tuple[ParameterType, int]) -> None:
    kind, value = given_value
    if abs(value) > LARGEST_EXACT:
        with pytest.raises(ValueError, match="no exact float"):
            encode(value, kind, bytewise=False)
    else:
        field = struct.unpack("<f", struct.pack("<f", encode(value, kind, bytewise=False)))[0]
        assert decode(field, kind, bytewise=False) == value


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.booleans())
def test_a_real_number_is_the_field_itself(value: float, bytewise: bool) -> None:
    field = encode(value, ParameterType.REAL32, bytewise=bytewise)
    assert decode(field, ParameterType.REAL32, bytewise=bytewise) == value


@given(st.floats(width=32), st.integers(0, 255), st.booleans())
def test_no_field_is_decoded_to_what_is_not_finite(field: float, kind: int, bytewise: bool) -> None:
    value = decode(field, kind, bytewise=bytewise)
    assert value is None or math.isfinite(value)


@given(st.floats(), st.booleans())
def test_what_is_no_small_whole_number_is_no_int8(value: float, bytewise: bool) -> None:
    if math.isfinite(value) and value == math.floor(value) and -128 <= value <= 127:
        assert decode(encode(value, ParameterType.INT8, bytewise=bytewise), 2, bytewise=bytewise) == value
    else:
        with pytest.raises(ValueError, match="is no"):
            encode(value, ParameterType.INT8, bytewise=bytewise)


def test_the_two_ways_differ_as_autopilots_do() -> None:
    assert encode(14, ParameterType.INT32, bytewise=True) == pytest.approx(1.96e-44, rel=0.01)
    assert encode(14, ParameterType.INT32, bytewise=False) == 14.0
    assert math.isnan(encode(-1, ParameterType.INT32, bytewise=True))
    assert decode(math.nan, ParameterType.INT32, bytewise=False) is None


@given(st.floats(-1e6, 1e6, allow_subnormal=False))
def test_what_a_float_keeps_of_a_value_counts_as_the_same(value: float) -> None:
    kept = struct.unpack("<f", struct.pack("<f", value))[0]
    assert same(value, kept)
    assert not same(value, kept + 0.01 * max(1.0, abs(kept)))
