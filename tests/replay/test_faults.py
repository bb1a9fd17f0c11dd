"""Every fault, flown over a village: nothing false is said whatever happens, and the place is found again afterwards.

A fault that fails prints the command that flies it again; `tools/evaluate_faults.py` flies them over larger worlds.
"""

from __future__ import annotations

import pytest

from support.embedders import ThumbnailEmbedder
from tilefix.simulation.faultoutcome import Outcome
from tilefix.simulation.faults import ASKED, Fault
from tilefix.simulation.provingground import ProvingGround, quick_scene

SEED = 1700
COMMAND = '.venv/bin/pytest "tests/replay/test_faults.py::test_a_fault_is_told_honestly_and_survived[{0}]"'
LARGER = ".venv/bin/python tools/evaluate_faults.py run --quick --seeds {1} --faults {0}"


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> ProvingGround:
    """The world, rendered once."""
    return ProvingGround(quick_scene(SEED), ThumbnailEmbedder(), tmp_path_factory.mktemp("faults"))


def _tried(ground: ProvingGround, fault: Fault | None) -> Outcome:
    return ground.try_fault(fault)[0]


def _wrongs(outcome: Outcome, asked_availability: float, recovery_s: float) -> list[str]:
    """What is not as asked, honesty first."""
    wrongs = [
        f"false {one.kind} at {one.at_s:g} s: {one.error_m:.0f} m off, sigma {one.sigma_m:.1f} m, {one.reason or '-'}"
        for one in outcome.false
    ]
    if outcome.before.availability is None or outcome.before.availability < 0.9:
        wrongs.append(f"availability {outcome.before.availability} before the fault")
    available = outcome.during.availability
    if available is not None and available < asked_availability:
        wrongs.append(f"availability {available:.2f} during the fault, not {asked_availability:g}")
    if outcome.recovery_s is None or outcome.recovery_s > recovery_s:
        wrongs.append(f"a fix again after {outcome.recovery_s} s, not within {recovery_s:g} s")
    return wrongs


def test_without_a_fault_little_is_missed(ground: ProvingGround) -> None:
    outcome = _tried(ground, None)
    assert outcome.first_fix_s is not None
    assert outcome.first_fix_s < 8.0
    assert not _wrongs(outcome, 1.0, 0.0)
    assert outcome.after.availability is not None
    assert outcome.after.availability >= 0.8


@pytest.mark.parametrize("fault", Fault, ids=lambda fault: fault.name)
def test_a_fault_is_told_honestly_and_survived(ground: ProvingGround, fault: Fault) -> None:
    asked = ASKED[fault]
    outcome = _tried(ground, fault)
    if wrongs := _wrongs(outcome, asked.availability, asked.recovery_s):
        told = "\n".join(wrongs)
        commands = "\n".join(command.format(fault.name, SEED) for command in (COMMAND, LARGER))
        pytest.fail(f"{fault.value}:\n{told}\nduring: {outcome.during.reasons}\n{commands}", pytrace=False)
