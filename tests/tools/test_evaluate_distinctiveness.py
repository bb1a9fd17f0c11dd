"""How well the prediction of hard places holds: the sampling, the fit and the figures."""

from __future__ import annotations

import ast
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from support.scenes import CAMERA, LOCAL, noise_ground, small_map
from support.tools import load_tool
from tilefix.errors import TilefixError

tool = load_tool("evaluate_distinctiveness")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Any:
    package = small_map(tmp_path_factory.mktemp("maps") / "map", ThumbnailEmbedder())
    own = tool.Picture(package.imagery, package.grid, LOCAL)
    other = tool.Picture(noise_ground(99, package.grid.width_px), package.grid, LOCAL)
    return tool.Ground("world 1", package, (own, other), CAMERA, (60.0, 90.0), 1)


def test_frames_of_the_map_match_and_frames_of_elsewhere_do_not(ground: Any) -> None:
    rows = list(tool.sample(ground, ThumbnailEmbedder(), 4))
    assert [row["agl_m"] for row in rows] == [60.0] * 4 + [90.0] * 4
    own, other = rows[::2], rows[1::2]
    assert all(row["match"] for row in own)
    assert sum(row["found"] for row in own) >= 3
    assert not any(row["match"] or row["found"] for row in other)
    assert min(row["z_score"] for row in own) > max(row["z_score"] for row in other)
    assert rows == list(tool.sample(ground, ThumbnailEmbedder(), 4))


def test_planted_weights_are_found_again() -> None:
    rng = np.random.default_rng(4)
    x = np.column_stack([np.ones(20_000), rng.normal(3.0, 2.0, (20_000, 2))])
    planted = np.array([-2.0, 1.2, -0.6])
    y = (rng.random(20_000) < tool.probability(x, planted)).astype(float)
    assert tool.fit(x, y) == pytest.approx(planted, abs=0.2)


def test_figures_of_a_ranking() -> None:
    up = np.arange(10.0)
    assert tool.rank_correlation(up, up**3) == pytest.approx(1.0)
    assert tool.rank_correlation(up, -up) == pytest.approx(-1.0)
    assert tool.area_under_curve(up, (up > 4).astype(float)) == 1.0
    assert tool.area_under_curve(np.zeros(10), (up > 4).astype(float)) == 0.5
    assert np.isnan(tool.area_under_curve(up, np.ones(10)))


def written(path: Path, rows: list[dict[str, object]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def row(k: int) -> dict[str, object]:
    traits = {
        "detail": 2.0 + 0.05 * k,
        "structure": 0.4,
        "coarse": 0.6,
        "near_rival": 0.2,
        "far_rival": 0.2,
        "pixels": 7,
    }
    name = "world 9001" if k % 2 else "NAIP 2010 by 2014"
    return {"ground": name, "agl_m": 100.0, **traits, "match": k > 20, "found": k > 40, "z_score": k, "margin": k}


def test_a_report_and_a_fit_of_samples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "s.csv", [row(k) for k in range(60)])
    assert tool.main(["report", str(path)]) == 0
    said = capsys.readouterr().out
    assert "| match | all | 60 |" in said
    assert "| found | surveys | 30 |" in said
    assert "| 1.00 | 1.00 |" in said  # the one trait that differs orders the frames
    assert tool.main(["fit", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" = ")[0] for line in lines] == ["MATCH_WEIGHTS", "FOUND_WEIGHTS"]
    assert len(ast.literal_eval(lines[0].split(" = ")[1])) == 7


def test_what_is_no_sample_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["report", str(tmp_path / "absent.csv")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    with pytest.raises(TilefixError, match="no samples"):
        tool.load([written(tmp_path / "s.csv", [{"a": 1}])])
    assert tool.main(["sample", str(tmp_path / "o.csv"), "--worlds", "x"]) == 2
    assert "1510-1521" in capsys.readouterr().err
