"""tools/benchmark_search.py over few tiles: what is measured, not how fast it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from support.tools import load_tool

benchmark_search = load_tool("benchmark_search")


def test_few_tiles_are_searched_everywhere_and_near(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench" / "search.json"
    few = ["--tiles", "3000", "--dim", "64", "--repeats", "3", "--prior-m", "200"]
    assert benchmark_search.main([*few, "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result["descriptor_bytes"] == 3000 * 64 * 4
    assert set(result["took"]) == {"read", "global", "similarities", "near", "similarities near"}
    assert {one["runs"] for one in result["took"].values()} == {3}
    assert set(result["ratios"]) == {
        "global_over_read",
        "similarities_over_read",
        "near_over_global",
        "similarities_near_over_similarities",
    }
    # A circle of 200 m on a lattice of 40 m holds 81 tiles, fewer at the map's edge.
    assert 10 <= result["tiles_near_prior"] <= 81
    assert result["tile_found_again"] == 1.0
    assert result["codes"]["fp16"]["of_exact_ten_best"] > 0.95
    assert result["codes"]["int8"]["bytes"] == 3000 * 64
    assert str(out) in capsys.readouterr().out


def test_tiles_are_the_same_each_time_and_of_unit_length() -> None:
    one, other = benchmark_search.descriptors(0, 50, 32), benchmark_search.descriptors(0, 50, 32)
    assert np.array_equal(one, other)
    assert np.allclose(np.linalg.norm(one, axis=1), 1.0, atol=1e-5)
    assert not np.array_equal(one, benchmark_search.descriptors(50, 50, 32))


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--tiles", "5"], "--tiles 5 is out of range"),
        (["--dim", "0"], "--dim 0 is out of range"),
        (["--codes", "morse"], "no code morse"),
    ],
)
def test_what_cannot_be_measured_is_one_clear_line(argv, message, tmp_path, capsys) -> None:
    out = tmp_path / "search.json"
    assert benchmark_search.main([*argv, "--json", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()
