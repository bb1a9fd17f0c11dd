"""The evaluation of faults: what it keeps, what it does anew, and what its table and picture say."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar
from xml.etree import ElementTree

import pytest

from support.answers import fix_at
from support.embedders import ThumbnailEmbedder
from support.tools import load_tool
from tilefix.evaluation.scoring import judge
from tilefix.geodesy import LocalFrame
from tilefix.simulation.faultoutcome import outcome_of
from tilefix.simulation.faults import Fault, Window
from tilefix.types import NoFix, Reason

evaluate_faults = load_tool("evaluate_faults")
fault_report = load_tool("fault_report")

LOCAL = LocalFrame(47.0, 8.5)
WINDOW = Window(2.0, 4.0)


def _tried(fault: Fault | None, seed: int = 1, *, wrong_m: float = 0.0):
    """Eight seconds, one frame each: right, nothing from 2 s to 5 s, then a fix `wrong_m` off, then right."""
    answers = []
    for second in range(8):
        off_m = wrong_m if second == 5 else 1.0
        position = NoFix(0, Reason.BLURRED) if 2 <= second < 5 else fix_at(0.0, off_m, local=LOCAL)
        answers.append(judge(str(second), second, position, (47.0, 8.5), LOCAL, 0.5))
    flight = SimpleNamespace(fault=fault, window=WINDOW, arrives_s=tuple(float(second) for second in range(8)))
    return outcome_of(flight, answers, seed), SimpleNamespace(answers=answers), flight


class _Ground:
    tried: ClassVar[list[str]] = []

    def __init__(self, scene, embedder, folder) -> None:
        self.seed = scene.seed

    def try_fault(self, fault):
        self.tried.append("NONE" if fault is None else fault.name)
        return _tried(fault, self.seed)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a run has tried, without flying it."""
    monkeypatch.setattr(evaluate_faults, "ProvingGround", _Ground)
    monkeypatch.setattr(_Ground, "tried", [])
    return _Ground.tried


def test_an_outcome_is_counted_before_during_and_after() -> None:
    outcome = _tried(Fault.BLUR)[0]
    assert (outcome.first_fix_s, outcome.recovery_s) == (0.0, 1.0)
    assert (outcome.before.availability, outcome.during.availability) == (1.0, 0.0)
    assert (outcome.after.fixes, outcome.after.frames) == (3, 4)
    assert outcome.during.reasons == {"BLURRED": 2}
    assert outcome.false == ()


def test_a_false_fix_is_no_recovery() -> None:
    outcome = _tried(Fault.BLUR, wrong_m=40.0)[0]
    assert outcome.recovery_s == 2.0
    assert [(one.frame, one.kind, round(one.error_m)) for one in outcome.false] == [("5", "fix", 40)]


def test_what_stands_already_is_kept_unless_asked_otherwise(tmp_path: Path, tried: list[str]) -> None:
    def run(*more: str) -> int:
        status: int = evaluate_faults.main(["run", "--quick", "--seeds", "7", "--out", str(tmp_path), *more])
        return status

    assert run("--faults", "NONE", "BLUR") == 0
    assert run("--faults", "NONE", "BLUR", "HAZE") == 0
    assert tried == ["NONE", "BLUR", "HAZE"]
    path = tmp_path / "7_BLUR.json"
    record = json.loads(path.read_text())
    record["state"]["settings"]["map_sigma_m"] = 9.0
    path.write_text(json.dumps(record))
    (tmp_path / "7_HAZE.json").write_text("{ cut off")
    assert run("--faults", "NONE", "BLUR", "HAZE") == 0
    assert tried[3:] == ["BLUR", "HAZE"]
    assert run("--faults", "NONE", "--fresh") == 0
    assert tried[5:] == ["NONE"]


def test_the_report_says_what_is_not_as_asked(
    tmp_path: Path, tried: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        evaluate_faults.main(
            ["run", "--quick", "--seeds", "7", "8", "--faults", "HAZE", "NIGHT", "--out", str(tmp_path)]
        )
        == 0
    )
    capsys.readouterr()
    assert evaluate_faults.main(["report", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    rows = [line for line in said.splitlines() if line.startswith("| haze")]
    assert rows == [
        f"| haze: {Fault.HAZE.value} | 2 | 16 | 0 | 100 % | 0 % | 75 % | 1.0 s, 1.0 s | BLURRED 4 |",
    ]
    assert "* 7 HAZE: 0 of 2 available, asked 0.9" in said
    assert "NIGHT:" not in said
    assert (tmp_path / "faults.md").read_text() == said
    drawn = ElementTree.fromstring((tmp_path / "faults.svg").read_text())
    colours = [one.get("fill") for one in drawn.iter() if one.tag.endswith("rect")]
    assert colours.count(fault_report.COLOURS["none"]) == 1 + 4
    assert colours.count(fault_report.COLOURS["fix"]) == 1 + 8


def test_without_results_there_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate_faults.main(["report", "--out", str(tmp_path)]) == 2
    assert "holds no result" in capsys.readouterr().err


def test_evaluation_worlds_are_flown_by_default() -> None:
    assert min(evaluate_faults.SEEDS) >= 9000


def test_the_state_names_model_and_scene() -> None:
    scene = evaluate_faults.quick_scene(3)
    state = evaluate_faults._state(scene, ThumbnailEmbedder())
    assert state == json.loads(json.dumps(state))
    assert state["scene"]["seed"] == 3
