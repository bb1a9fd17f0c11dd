"""The comparison of variants: that switches reach the run, that a run cut short goes on, and what the report says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.ablation import TINY, without_initial, write_tiny_dataset
from support.tools import load_tool

pytest.importorskip("torch")
ablate = load_tool("ablate")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of a few places where the tool looks for that of seed 1999."""
    out = tmp_path_factory.mktemp("ablation")
    write_tiny_dataset(out / "data" / "1999", seed=1999)
    return out


def test_variants_switch_one_part_each_and_differ_by_preset() -> None:
    found = ablate.variants()
    assert len(found) == 10 + len(ablate.GROUPS)
    on = {name: {part for part in ablate.PARTS if changes[f"{part}.enabled"]} for name, changes in found.items()}
    assert on["published:baseline"] == set()
    assert on["tilefix:+icel"] == {"icel"}
    assert on["tilefix:all"] == {"dhml", "icel", "ple"}
    assert found["published:all"]["run.preset"] == "published"


def test_a_group_of_values_is_the_other_presets_and_all_groups_leave_little() -> None:
    found = ablate.variants()
    own, other = (ablate._values(found[name]) for name in ("published:all", "tilefix:all"))
    with_augment = ablate._values(found["published<augment"])
    changed = {name for name in own if with_augment[name] != own[name]}
    assert changed == {"patches.augment", "patches.mirrored", "patches.mask_p"}
    assert all(with_augment[name] == other[name] for name in changed)
    left = {name for name in own if own[name] != other[name] and not name.startswith(sum(ablate.GROUPS.values(), ()))}
    assert left == {"run.preset", "satellite.eps", "optimiser.least_images", "optimiser.bfloat16"}


def test_a_run_writes_its_scores_and_is_not_repeated(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ablate, "_data", lambda out, seed: out / "data" / str(seed))
    changes = {**ablate.variants()["tilefix:all"], **TINY, "drone.eps": 0.7}
    monkeypatch.setattr(ablate, "BASE", without_initial(ablate.BASE, small))
    ablate.train("tilefix:all", changes, 1999, small)
    file = small / "tilefix-all-1999.json"
    result = json.loads(file.read_text())
    assert [row["epoch"] for row in result["epochs"]] == [0, 1]
    last = result["epochs"][-1]["test"]["drone_to_satellite"]
    assert 0.0 <= last["full"] <= last["matched"] <= 1.0
    before = file.stat().st_mtime_ns
    ablate.train("tilefix:all", changes, 1999, small)
    assert file.stat().st_mtime_ns == before
    file.unlink()  # as if it had been cut short before its last epoch was looked at
    scores = small / "runs" / file.stem / "scores.jsonl"
    scores.write_text(scores.read_text().splitlines()[0] + "\n")
    ablate.train("tilefix:all", changes, 1999, small)
    again = json.loads(file.read_text())
    assert [row["test"]["epoch"] for row in again["epochs"]] == [0, 1]
    assert again["epochs"][-1]["test"]["drone_to_satellite"] == pytest.approx(last)
    assert ablate.main(["report", "--out", str(small)]) == 0
    text = capsys.readouterr().out
    assert "tilefix:all" in text
    assert "best by test" in text


def test_runs_at_one_time_get_the_same_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    trained: list[tuple[str, int, object]] = []

    class Finished:
        returncode = 0

        def __init__(self, words: list[str]) -> None:
            started.append(words)

        def poll(self) -> int:
            return 0

    monkeypatch.setattr(ablate, "_data", lambda out, seed: out)
    monkeypatch.setattr(ablate.subprocess, "Popen", Finished)
    monkeypatch.setattr(
        ablate, "train", lambda name, changes, seed, out: trained.append((name, seed, changes["run.epochs"]))
    )
    words = ["tilefix:all", "--seeds", "5", "6", "--jobs", "2", "--suffix=-x", "--set", "run.epochs=3"]
    assert ablate.main(["run", *words, "--out", str(tmp_path)]) == 0
    assert [ablate.main(words[2:]) for words in started] == [0, 0]
    assert trained == [("tilefix:all-x", 5, 3), ("tilefix:all-x", 6, 3)]


def test_effects_are_differences_on_the_same_data_set() -> None:
    def run(variant: str, seed: int, full: float) -> dict[str, object]:
        score = {"full": full, "matched": full + 0.1}
        return {"variant": variant, "seed": seed, "epochs": [{"test": {"drone_to_satellite": score}}]}

    runs = [run("tilefix:baseline", 1, 0.3), run("tilefix:baseline", 2, 0.5), run("tilefix:baseline", 3, 0.9)]
    runs += [run("tilefix:+ple", 1, 0.32), run("tilefix:+ple", 2, 0.51), run("published:baseline", 3, 0.4)]
    rows = ablate.effects(runs).splitlines()[1:]
    assert [row.split()[:3] for row in rows] == [
        ["tilefix:+ple", "tilefix:baseline", "2"],
        ["tilefix:baseline", "published:baseline", "1"],
    ]
    assert "1.5 (1.0 to 2.0)" in rows[0]
    assert "50.0 (50.0 to 50.0)" in rows[1]


def test_bad_arguments_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ablate.main(["run", "mine:all", "--out", str(tmp_path)]) == 2
    assert "mine:all is no variant" in capsys.readouterr().err
    assert ablate.main(["report", "--out", str(tmp_path)]) == 2
    assert "no finished run" in capsys.readouterr().err
