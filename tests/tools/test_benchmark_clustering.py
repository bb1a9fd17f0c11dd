"""tools/benchmark_clustering.py on few descriptors: what is measured, not how fast it was."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from support.tools import load_tool

pytest.importorskip("torch")
benchmark_clustering = load_tool("benchmark_clustering")
SMALL = ["--dim", "32", "--images-per-place", "12", "--k1", "10", "--k2", "3", "--spread", "0.5"]


def test_both_ways_are_measured_and_agree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench" / "clustering.json"
    assert benchmark_clustering.main([*SMALL, "--counts", "240", "--out", str(out)]) == 0
    (run,) = json.loads(out.read_text())["runs"]
    assert run["places"] == 20
    assert run["same_labels"] == 1.0
    for way in ("sparse", "dense"):
        assert run[way]["peak_mib"] >= run[way]["peak_mib_before"] > 0
        assert run[way]["ari"] == run["sparse"]["ari"] > 0.8
    assert "100.00% of the labels are the same" in capsys.readouterr().out


def test_the_dense_one_is_left_out_where_it_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark_clustering, "_free_bytes", lambda: 2.0**30)
    scene = benchmark_clustering.Scene(10_000, 8, 10, 0.5, 10, 3, 0.4, 4)
    found = benchmark_clustering.measure("dense", scene, tmp_path / "labels.npy", 1, 60.0)
    assert found == {"skipped": "needs about 1.5 GiB, more than 70% of the 1.0 GiB that are free"}
    assert not list(tmp_path.iterdir())


def test_a_run_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    scene = benchmark_clustering.Scene(240, 8, 10, 0.5, 10, 3, 0.4, 4)
    found = benchmark_clustering.measure("dense", scene, tmp_path / "labels.npy", 1, 0.06)
    assert found == {"skipped": "stopped after 0.001 min"}


def test_planted_descriptors_are_of_length_one_and_follow_from_the_seed() -> None:
    scene = benchmark_clustering.Scene(500, 48, 10, 0.5, 10, 3, 0.4, 4)
    features, truth = benchmark_clustering.planted(scene)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(features, benchmark_clustering.planted(scene)[0])
    assert len(set(truth[truth < 50])) == 50
    assert 1 <= (truth >= 50).sum() <= 40


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--counts", "1"], "--counts 1 is out of range"),
        (["--dim", "0"], "--dim 0 is out of range"),
        (["--threads", "0"], "--threads 0 is out of range"),
    ],
)
def test_what_cannot_be_measured_is_one_clear_line(
    argv: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "clustering.json"
    assert benchmark_clustering.main([*argv, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()
