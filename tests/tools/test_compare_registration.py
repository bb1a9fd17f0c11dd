from __future__ import annotations

from pathlib import Path

import pytest

from support.scenes import flight_over, small_map
from support.tools import load_tool
from tilefix.embedders import open_embedder

compare_registration = load_tool("compare_registration")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a map and a flight over it."""
    folder = tmp_path_factory.mktemp("scene")
    flight_over(small_map(folder / "map", open_embedder()), folder / "flight", count=3)
    return folder


def test_every_method_is_judged_on_the_same_frames(scene: Path, tmp_path: Path) -> None:
    argv = ["--flight", str(scene / "flight"), "--map", str(scene / "map"), "--out", str(tmp_path)]
    assert compare_registration.main(argv) == 0
    table = (tmp_path / "registration.md").read_text().splitlines()
    rows = {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in (x.split("|") for x in table[2:])}
    assert len(rows) == 5
    # The flight is the map itself seen again: whoever registers pixels finds it.
    for name, (accepted, median, _, false_fixes, _) in rows.items():
        if not name.startswith("the embedding"):
            assert accepted == "100.0 %", name
            assert float(median.removesuffix(" m")) < 1.0, name
            assert false_fixes == "0", name
    assert rows["the embedding's tile centre alone"][0] == "100.0 %"


def test_a_missing_map_is_one_clear_line(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--flight", str(scene / "flight"), "--map", str(tmp_path / "none"), "--out", str(tmp_path / "out")]
    assert compare_registration.main(argv) == 2
    assert capsys.readouterr().err.startswith("compare_registration: ")
    assert not (tmp_path / "out").exists()
