"""Whatever packets a link loses, what the parameter client says is true, and said in time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from support.parameters import LossyPort, WaitingClock
from tilefix.links.messages import Airframe, AutopilotKind
from tilefix.links.parameters import ParameterClient, Patience
from tilefix.simulation.parameters import ParameterTable

PATIENCE = Patience(0.5, 4, 10)
# One round may wait a turn longer than it was given.
_TURN_NS = 10_000_000
NAMES = sorted(one.name for one in ParameterTable.of(AutopilotKind.ARDUPILOT, Airframe.COPTER, (4, 7, 0)).read_all())
STRANGE = ["GPS_TYPE2", "SYSID_ENFORCE", "gps2_type", "NO_SUCH_NAME_AT_"]


def _client(loses: set[int]) -> tuple[ParameterClient, LossyPort, WaitingClock]:
    port = LossyPort(ParameterTable.of(AutopilotKind.ARDUPILOT, Airframe.COPTER, (4, 7, 0)), loses)
    clock = WaitingClock()
    return ParameterClient(port, clock, patience=PATIENCE, wait=clock.wait), port, clock


@given(st.lists(st.sampled_from(NAMES + STRANGE), max_size=25), st.sets(st.integers(1, 150)))
def test_what_is_read_is_true_and_nothing_is_invented(names: list[str], loses: set[int]) -> None:
    client, port, clock = _client(loses)
    values = client.read(names)
    assert values.keys() <= set(names) & set(NAMES)
    assert all(value == port.table.stored(name) for name, value in values.items())
    batches = -(-len(set(names)) // PATIENCE.at_once)
    assert clock.ns <= PATIENCE.rounds * batches * (PATIENCE.answer_s * 1e9 + _TURN_NS)
    if not loses:
        assert values.keys() == set(names) & set(NAMES)


@given(
    st.sampled_from(["GPS2_TYPE", "EK3_CHECK_SCALE", "GPS_PRIMARY"]), st.integers(0, 100), st.sets(st.integers(1, 60))
)
def test_what_is_called_written_is_stored(name: str, value: int, loses: set[int]) -> None:
    client, port, clock = _client(loses)
    written = client.write(name, float(value))
    if written.right:
        assert port.table.stored(name) == value
    if not loses:
        assert written.right
    # A question, and in each round the setting and another question.
    asking_ns = PATIENCE.rounds * (PATIENCE.answer_s * 1e9 + _TURN_NS)
    assert clock.ns <= asking_ns + PATIENCE.rounds * (PATIENCE.answer_s * 1e9 + _TURN_NS + asking_ns)
