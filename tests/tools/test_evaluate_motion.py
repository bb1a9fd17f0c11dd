"""tools/evaluate_motion.py: a flight with something that passes beside the plain one, and what the tables say of it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

from support.answers import fix_at
from support.embedders import ThumbnailEmbedder
from support.scenes import LOCAL, small_map
from support.tools import load_tool
from tilefix.camera import CameraModel
from tilefix.evaluation.scoring import judge
from tilefix.localization import motion as motion_module
from tilefix.simulation.sight import Scenery
from tilefix.simulation.world import EVALUATION_SEED_START, VALIDATION_SEEDS

tool = load_tool("evaluate_motion")
figures = load_tool("generated_figures")
reports = load_tool("motion_report")
flown = load_tool("motion_trials")


def test_evaluation_worlds_are_flown_by_default_and_none_of_other_tables() -> None:
    assert min(tool.WORLDS) >= EVALUATION_SEED_START + 120
    assert set(tool.WORLDS).isdisjoint(VALIDATION_SEEDS)


def test_a_low_flight_and_a_high_one_follow_from_the_world() -> None:
    table = flown.trials([1703, 1704], 50)
    assert table == flown.trials([1703, 1704], 50)
    for trial in table:
        low_m, high_m = flown.BANDS_M[trial.number]
        assert low_m <= trial.plan.agl_m <= high_m
        assert math.floor(trial.plan.duration_s * trial.plan.rate_hz) == 50
    assert len({trial.plan.seed for trial in table}) == 4


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A flight of ten frames over a small map of noise, low and slow, with its scenery."""
    package = small_map(tmp_path_factory.mktemp("map") / "map", ThumbnailEmbedder())
    trial = flown.trials([1703], 10)[0]
    plan = replace(trial.plan, agl_m=60.0, speed_mps=6.0, camera=CameraModel.from_hfov(240, 180, 60.0))
    scenery = Scenery(package.imagery, package.grid)
    return flown.Course.of(replace(trial, plan=plan), scenery, package.frame), scenery, package


def test_every_case_passes_over_about_its_share_of_the_picture(small) -> None:
    course, scenery, _ = small
    for case in flown.CASES:
        share = flown.share_changed(course, scenery, flown.passing_of(case, course))
        if case.kind != "own shadow":
            assert 0.2 * case.strength < share < min(1.0, 3.0 * case.strength + 0.1), case.name
    assert flown.share_changed(course, scenery, flown.passing_of(flown.PLAIN, course)) == 0.0
    shadow = flown.passing_of(flown.Case("own shadow", 6.0), course)
    assert 0.0 < flown.share_changed(course, scenery, shadow) < 0.1


def test_a_case_is_flown_beside_the_plain_flight(small, tmp_path: Path) -> None:
    course, scenery, package = small
    water = flown.Case("water", 0.5)
    records = []
    for number, case in enumerate((flown.PLAIN, water)):
        record = tool.fly(course, case, scenery, package, ThumbnailEmbedder())
        figures.write_record(tmp_path / f"{number}.json", record)
        records.append(figures.read_record(tmp_path / f"{number}.json"))
    plain, wet = records
    assert [step is None for step in plain.facts["steps"]] == [True] + 9 * [False]
    true = np.diff(plain.truth_m, axis=0)
    assert np.abs(np.array(plain.facts["steps"][1:]) - true).max() < 2.0  # the log's attitude errs
    here, whole = (reports.Added.of([wet], [plain], key) for key in ("steps", "whole"))
    assert here.frames == 9
    assert np.median(here.error_mps) < 0.5 * np.median(whole.error_mps)
    assert whole.pull_mps.mean() < 0.0  # as if the camera moved against the current
    assert 0.3 < wet.facts["share"] < 0.8


def test_whole_patches_are_looked_at_only_meanwhile() -> None:
    before = motion_module.consensus
    with tool.whole_patches():
        assert motion_module.consensus(None, None, 0, 0) is None
    assert motion_module.consensus is before


def _record(case: str, steps, *, number: int = 0):
    answers = tuple(judge(str(k), 0.5 * k, fix_at(0.0, 1.0, local=LOCAL), (47.0, 8.5), LOCAL, 0.5) for k in range(4))
    facts = {
        "world": 1703, "trial": f"1703-{number}", "case": case, "agl_m": (100.0, 300.0)[number], "speed_mps": 10.0,
        "share": 0.25, "steps": steps, "whole": [None, [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]],
        "passes_mps": 4 * [None if case == "nothing" else [0.0, 4.0]],
    }  # fmt: skip
    truth = np.zeros((4, 2))
    return figures.Record(f"1703-{number}", facts, {}, answers, truth, truth + 10.0, 0.0)


def test_what_is_added_counts_along_the_way_of_what_passes() -> None:
    plain = _record("nothing", [None, [1.0, 0.0], [1.0, 0.0], None])
    drawn = _record("water, 50 %", [None, [1.0, -0.5], None, [1.0, 0.0]])
    added = reports.Added.of([drawn], [plain], "steps")
    assert (added.frames, added.measured) == (2, 1)
    assert added.error_mps.tolist() == [1.0]
    assert added.pull_mps.tolist() == [-1.0]
    assert added.spread() == "1.00 / 1.00"


def test_the_report_has_a_row_for_each_case_and_height(tmp_path: Path, monkeypatch, capsys) -> None:
    still = [None, [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
    for number in (0, 1):
        for name, steps in (("nothing", still), ("water, 50 %", [None, [1.0, -0.5], [1.0, -0.5], None])):
            figures.write_record(tmp_path / "motion" / f"{number}_{name[:5]}.json", _record(name, steps, number=number))
    assert tool.main(["report", "--worlds", "1703", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "| 60 to 150 m | water, 50 % | 25.0 % | 66.7 % | 1.00 / 1.00 m/s | -1.00 m/s | 0.00 / 0.00 m/s |" in said
    assert "| 200 to 400 m | nothing | 4 |" in said
    drawn = ElementTree.fromstring((tmp_path / "motion.svg").read_text())
    assert sum(one.tag.endswith("circle") for one in drawn.iter()) == 4
    assert tool.main(["report", "--worlds", "9130", "--out", str(tmp_path)]) == 2
    assert "holds no result" in capsys.readouterr().err
    assert tool.main(["run", "--worlds", "1703", "--frames", "1", "--out", str(tmp_path)]) == 2


def test_what_stands_already_is_kept(tmp_path: Path, monkeypatch) -> None:
    course = SimpleNamespace(trial=None)
    tried: list[str] = []

    def fly(course, case, *_, positions):
        tried.append(f"{case.name} {positions}")
        return _record(case.name, [None, [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])

    place = SimpleNamespace(render=lambda look: None, grid=None, frame=None)
    for name, value in (
        ("fly", fly),
        ("open_embedder", lambda model: SimpleNamespace(manifest=ThumbnailEmbedder().manifest, close=lambda: None)),
        ("generate_world", lambda world, **_: place),
        ("build_map", lambda *_: None),
        ("open_map", lambda *_: None),
    ):
        monkeypatch.setattr(tool, name, value)
    monkeypatch.setattr(tool.Course, "of", classmethod(lambda cls, *_: course))
    for names, more in ((["water, 50*"], 4), (["water, 50*"], 4), (["water, 50*", "motorway*"], 8)):
        tool.run_world(tmp_path, 1703, names, 4, None)
        assert len(tried) == more
    tool.run_world(tmp_path, 1703, ["water, 50*"], 4, None, ["*-1"], positions=False)
    assert tried[more:] == ["nothing False", "water, 50 % False"]
