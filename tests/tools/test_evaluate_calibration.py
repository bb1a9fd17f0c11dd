"""tools/evaluate_calibration.py: what is planted is what is true minus what is said."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from support.tools import load_tool
from tilefix.errors import TilefixError
from tilefix.geodesy import Grid, LocalFrame
from tilefix.simulation.flights import flown
from tilefix.simulation.world import EVALUATION_SEED_START, VALIDATION_SEEDS

evaluate_calibration = load_tool("evaluate_calibration")

GRID = Grid(-800.0, 800.0, 1.0, 1600, 1600)
FRAME = LocalFrame(47.0, 8.5)


def test_figures_and_settings_use_different_worlds() -> None:
    sets = evaluate_calibration.SETS
    assert set(sets["development"]) <= set(VALIDATION_SEEDS)
    assert min(sets["evaluation"]) >= EVALUATION_SEED_START


def test_the_log_errs_by_what_is_planted() -> None:
    drawn = evaluate_calibration.draw(1800)
    one = replace(drawn, plan=replace(drawn.plan, duration_s=5.0, height_error=0.0))
    planted = one.planted
    motions = [motion for _, motion in flown(GRID, FRAME, one.plan)]
    rows = list(evaluate_calibration.logged(one, GRID, FRAME))
    assert len(rows) == 6
    for row, taken in rows:
        # The log's row stands at the picture's stamp; its state there is that of the motion then.
        logged = min(motions, key=lambda motion: abs(motion.at_s - row.time_s))
        assert row.time_s + planted.time_s == pytest.approx(taken.at_s, abs=1e-6)
        assert row.state.agl_m == pytest.approx(logged.agl_m)
        east_m, north_m = FRAME.to_local(*row.truth)
        assert east_m - logged.east_m == pytest.approx(planted.east_m, abs=1e-3)
        assert north_m - logged.north_m == pytest.approx(planted.north_m, abs=1e-3)
    camera, mount = evaluate_calibration.configured(one)
    assert math.log(one.plan.camera.fx / camera.fx) == pytest.approx(planted.log_focal)
    assert one.plan.mount.pitch_deg - mount.pitch_deg == pytest.approx(planted.pitch_deg)


def test_a_new_log_is_refused_for_pictures_taken_on_another_way() -> None:
    drawn = evaluate_calibration.draw(1800)
    one = replace(drawn, plan=replace(drawn.plan, duration_s=5.0))
    rows = [row for row, _ in evaluate_calibration.logged(one, GRID, FRAME)]
    evaluate_calibration.check_recorded(rows, one, GRID, FRAME, Path("1800"))
    east_m, north_m = FRAME.to_local(*rows[3].truth)
    moved = replace(rows[3], truth=FRAME.to_geodetic(east_m + 0.2, north_m))
    for other in ([*rows[:3], moved, *rows[4:]], rows[:-1]):
        with pytest.raises(TilefixError, match="another simulation"):
            evaluate_calibration.check_recorded(other, one, GRID, FRAME, Path("1800"))


def test_the_table_counts_what_lies_within_the_limits() -> None:
    names = tuple(evaluate_calibration.VALUES)
    records = [
        {"planted": dict.fromkeys(names, 9.0), "error": dict.fromkeys(names, error), "sigma": dict.fromkeys(names, 0.2)}
        for error in (0.1, -0.3, 2.0)
    ]
    row = next(line for line in evaluate_calibration.table(records).splitlines() if "mount pitch" in line)
    assert "| 9 ° | 0.30 ° | 2.00 ° | 2 of 3 | 0.5 ° | 0.20 ° | 33, 67 % |" in row


@pytest.mark.parametrize("seed", [1800, 1801, 9800])
def test_planted_errors_are_within_what_calibrate_promises(seed: int) -> None:
    planted = evaluate_calibration.draw(seed).planted
    assert max(abs(planted.roll_deg), abs(planted.pitch_deg)) <= 15.0
    assert abs(planted.time_s) <= 0.8
    assert np.hypot(planted.east_m, planted.north_m) <= 28.0
    assert abs(math.expm1(planted.log_focal)) <= 0.2
