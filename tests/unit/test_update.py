"""Updates: staged whole, switched at once, tried, taken back; and cut off at each of their file operations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.embedders import ThumbnailEmbedder
from tilefix import cli
from tilefix.errors import UpdateError
from tilefix.geodesy import Grid, LocalFrame
from tilefix.mapbuild.package import ArrayImagery, build_package
from tilefix.update.slots import Slot
from tilefix.update.trial import Change, begin_trial, prove, take_back, trial_of

ROOT = Path(__file__).resolve().parents[2]
GUARD = ROOT / "deploy" / "guard.sh"

# A version serves where the map in use is its own; a `bad` one nowhere. Its self-test says so, unless it is blind.
PROGRAM = """#!/bin/sh
map=$(basename "$(readlink {board}/state/maps/site/current)")
[ "$1" = selftest ] && [ {blind} = yes ] && exit 0
[ "$map" = {map} ] || exit 1
[ {bad} = no ] || exit 1
echo {version}
"""
INSTALLER = """#!/bin/sh
set -e
[ "$1" = --stage ] || exit 9
place={board}/opt/versions/v2
if [ ! -e "$place/.complete" ]; then
    rm -rf "$place"
    mkdir -p "$place/venv/bin"
    cat {board}/bundle >"$place/venv/bin/tilefix"
    chmod +x "$place/venv/bin/tilefix"
    touch "$place/.complete"
fi
echo v2
"""


def build_map(folder: Path, seed: int) -> Path:
    pixels = np.random.default_rng([77, seed]).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    grid = Grid(0.0, 200.0, 1.0, 200, 200)
    imagery = ArrayImagery(
        LocalFrame(47.0, 8.0), grid, pixels, np.full((200, 200), 255, np.uint8), "generated", "", "none"
    )
    build_package(imagery, folder, embedder=ThumbnailEmbedder(), patch_m=60.0, stride_m=60.0)
    return folder


def version_of(package: Path) -> str:
    import hashlib

    return hashlib.sha256((package / "manifest.json").read_bytes()).hexdigest()[:16]


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("maps")
    return build_map(folder / "old" / "site", 1), build_map(folder / "new" / "site", 2)


def make_board(board: Path, maps: tuple[Path, Path], *, bad: bool = False, blind: bool = False) -> Path:
    """A board with v1 and the old map in use, and a bundle that brings v2."""
    state = board / "state"
    old, new = maps
    site = Slot(state / "maps" / "site")
    place = site.begin(version_of(old))
    for file in old.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    site.finish(version_of(old))
    site.switch(version_of(old))
    software = Slot(board / "opt")
    place = software.begin("v1")
    for name, text in (
        ("venv/bin/tilefix", PROGRAM.format(board=board, map=version_of(old), bad="no", blind="no", version="v1")),
        ("deploy/install.sh", INSTALLER.format(board=board)),
    ):
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text(text)
        (place / name).chmod(0o755)
    software.finish("v1")
    software.switch("v1")
    words = {"bad": "yes" if bad else "no", "blind": "yes" if blind else "no"}
    (board / "bundle").write_text(PROGRAM.format(board=board, map=version_of(new), version="v2", **words))
    (board / "tilefix.toml").write_text("")
    own(board).mkdir()
    return board


def own(board: Path) -> Path:
    """The service's own folder; beside it only root writes."""
    return board / "state" / "state"


def update(board: Path, *words: str) -> int:
    places = (
        "--software",
        str(board / "opt"),
        "--state",
        str(board / "state"),
        "--config",
        str(board / "tilefix.toml"),
    )
    return cli.main(["update", *words, *places, "--no-restart"])


def start(board: Path) -> bool:
    """The guard and the service, once."""
    places = {"STATE_DIRECTORY": str(own(board)), "TILEFIX_TRIAL": str(board / "opt" / "trial")}
    environment = {**os.environ, **places}
    # As under its unit, which gives the service's files to nobody else.
    subprocess.run(["sh", "-c", 'umask 0027; exec sh "$0"', str(GUARD)], env=environment, check=True)
    return subprocess.run([board / "opt" / "current" / "venv" / "bin" / "tilefix", "run"]).returncode == 0


def test_software_and_map_come_into_use_together_on_trial(tmp_path: Path, maps: tuple[Path, Path]) -> None:
    board = make_board(tmp_path, maps)
    assert update(board, str(board / "bundle"), "--map", str(maps[1])) == 0
    site = Slot(board / "state" / "maps" / "site")
    assert (Slot(board / "opt").current, site.current) == ("v2", version_of(maps[1]))
    assert (Slot(board / "opt").previous, site.previous) == ("v1", version_of(maps[0]))
    assert len(trial_of(board / "opt", own(board))) == 2
    assert start(board)
    # The service, which is not root, reads what it proves.
    assert (board / "opt" / "trial").stat().st_mode & 0o044 == 0o044


def test_what_fails_its_selftest_is_taken_back_at_once(
    tmp_path: Path, maps: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    board = make_board(tmp_path, maps, bad=True)
    assert update(board, str(board / "bundle"), "--map", str(maps[1])) == 1
    assert Slot(board / "opt").current == "v1"
    assert trial_of(board / "opt", own(board)) == []
    assert start(board)
    assert "back to v1" in capfd.readouterr().out


def test_the_guard_takes_back_what_does_not_serve_after_three_starts(tmp_path: Path, maps: tuple[Path, Path]) -> None:
    board = make_board(tmp_path, maps, bad=True, blind=True)
    assert update(board, str(board / "bundle"), "--map", str(maps[1])) == 0
    assert [start(board) for _ in range(5)] == [False, False, False, True, True]
    assert Slot(board / "opt").current == "v1"
    assert Slot(board / "state" / "maps" / "site").current == version_of(maps[0])
    assert not (board / "opt" / "trial").exists()


def test_what_serves_is_not_counted_against_once_its_trial_ended(tmp_path: Path, maps: tuple[Path, Path]) -> None:
    board = make_board(tmp_path, maps)
    assert update(board, str(board / "bundle"), "--map", str(maps[1])) == 0
    assert start(board)
    prove(board / "opt" / "trial", own(board))  # as the service does
    assert trial_of(board / "opt", own(board)) == []
    assert all(start(board) for _ in range(6))
    assert Slot(board / "opt").current == "v2"


def test_an_update_waits_for_the_trial_of_the_last_one_and_back_ends_it(
    tmp_path: Path, maps: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    board = make_board(tmp_path, maps)
    assert update(board, str(board / "bundle"), "--map", str(maps[1])) == 0
    assert update(board, str(board / "bundle")) == 2
    assert "still on trial" in capsys.readouterr().err
    assert update(board, "--back") == 0
    assert Slot(board / "opt").current == "v1"
    assert start(board)
    assert update(board, "--back") == 0
    assert Slot(board / "opt").current == "v2"


def test_a_broken_map_or_bundle_changes_nothing(
    tmp_path: Path, maps: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    board = make_board(tmp_path, maps)
    broken = tmp_path / "broken" / "site"
    broken.mkdir(parents=True)
    for file in maps[1].iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    data = bytearray((broken / "imagery.npy").read_bytes())
    data[-1] ^= 1
    (broken / "imagery.npy").write_bytes(data)
    assert update(board, "--map", str(broken)) == 2
    (board / "opt/versions/v1/deploy/install.sh").write_text("#!/bin/sh\nexit 2\n")
    assert update(board, str(board / "bundle")) == 2
    assert update(board) == 2
    assert Slot(board / "opt").current == "v1"
    assert Slot(board / "state" / "maps" / "site").current == version_of(maps[0])
    assert trial_of(board / "opt", own(board)) == []
    assert start(board)
    capsys.readouterr()
    assert update(board, "--status") == 0
    assert "opt: v1, before nothing" in capsys.readouterr().out


def test_a_model_comes_with_its_manifest(tmp_path: Path, maps: tuple[Path, Path]) -> None:
    board = make_board(tmp_path, maps)
    model = tmp_path / "m.onnx"
    model.write_bytes(b"network")
    assert update(board, "--model", str(model)) == 2
    model.with_suffix(".json").write_text("{}")
    assert update(board, "--model", str(model)) == 0
    slot = Slot(board / "state" / "models" / "m")
    assert slot.current is not None
    assert {one.name for one in slot.place(slot.current).iterdir()} == {"m.onnx", "m.json", ".complete"}


def test_names_that_are_no_versions_and_versions_that_are_not_whole_are_refused(tmp_path: Path) -> None:
    slot = Slot(tmp_path)
    for name in ("", "..", "a/b", ".hidden", "x" * 101, "a b"):
        with pytest.raises(UpdateError):
            slot.place(name)
    slot.begin("v1")
    with pytest.raises(UpdateError, match="not complete"):
        slot.switch("v1")
    assert slot.current is None


def test_taking_back_leaves_a_first_version_where_it_is(tmp_path: Path) -> None:
    slot = Slot(tmp_path / "slot")
    slot.begin("v1")
    slot.finish("v1")
    slot.switch("v1")
    begin_trial(tmp_path, [Change(slot, "v1", None)])
    assert take_back(tmp_path, tmp_path) == []
    assert slot.current == "v1"
    assert trial_of(tmp_path, tmp_path) == []


def test_what_was_proved_before_proves_nothing_of_the_next_update(tmp_path: Path) -> None:
    slot = Slot(tmp_path)
    for name in ("v1", "v2"):
        slot.begin(name)
        slot.finish(name)
        slot.switch(name)
    begin_trial(tmp_path, [Change(slot, "v2", "v1")])
    prove(tmp_path / "trial", tmp_path)
    assert trial_of(tmp_path, tmp_path) == []
    begin_trial(tmp_path, [Change(slot, "v2", "v1")])
    assert len(trial_of(tmp_path, tmp_path)) == 1


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_root_follows_no_link_and_waits_for_no_pipe_of_the_service(
    tmp_path: Path, maps: tuple[Path, Path], kind: str
) -> None:
    board = make_board(tmp_path / "board", maps, bad=True, blind=True)
    assert update(board, str(board / "bundle"), "--map", str(maps[1])) == 0
    proved = own(board) / "proved"
    if kind == "link":
        # Read through it, the trial would be proved by its own file.
        proved.symlink_to(board / "opt" / "trial")
    elif kind == "pipe":
        os.mkfifo(proved)
    else:
        proved.mkdir()
    assert len(trial_of(board / "opt", own(board))) == 2
    assert [start(board) for _ in range(4)] == [False, False, False, True]
    assert Slot(board / "opt").current == "v1"


def test_a_guard_that_cannot_write_lets_the_service_start(
    tmp_path: Path, maps: tuple[Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    board = make_board(tmp_path, maps)
    assert update(board, str(board / "bundle"), "--map", str(maps[1])) == 0
    (board / "opt" / "trial.partial").mkdir()
    assert start(board)
    assert "does not count" in capfd.readouterr().err
    assert len(trial_of(board / "opt", own(board))) == 2


@pytest.mark.parametrize("inner", ["maps", "maps/site", "maps/site/versions"])
@pytest.mark.parametrize("kind", ["link", "mode", "owner"])
def test_an_update_removes_and_writes_nothing_where_others_may_write(
    tmp_path: Path, maps: tuple[Path, Path], inner: str, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    board = make_board(tmp_path / "board", maps)
    folder = elsewhere = board / "state" / inner
    if kind == "link":
        elsewhere = tmp_path / "elsewhere"
        folder.rename(elsewhere)
        folder.symlink_to(elsewhere)
    elif kind == "mode":
        folder.chmod(0o777)
    elif os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    else:
        pytest.skip("only root can give a folder away")
    (elsewhere / "precious").mkdir()
    before = sorted(elsewhere.rglob("*"))
    assert update(board, "--map", str(maps[1])) == 2
    assert f"{folder}: is no folder of root's" in capsys.readouterr().err
    assert sorted(elsewhere.rglob("*")) == before


def test_an_update_writes_nothing_into_the_folder_of_the_service(tmp_path: Path, maps: tuple[Path, Path]) -> None:
    board = make_board(tmp_path / "board", maps)
    own(board).rmdir()
    # Whatever was opened, made or removed below it would fail, or make it.
    own(board).symlink_to(tmp_path / "nowhere")
    assert update(board, str(board / "bundle"), "--map", str(maps[1])) == 0
    assert update(board, "--back") == 0
    assert update(board, "--status") == 0
    assert not (tmp_path / "nowhere").exists()
    assert own(board).is_symlink()


def test_only_what_is_in_use_or_was_is_kept(tmp_path: Path) -> None:
    slot = Slot(tmp_path)
    for name in ("v1", "v2", "v3"):
        slot.begin(name)
        slot.finish(name)
        slot.switch(name)
    slot.begin("v4")
    assert sorted(one.name for one in (tmp_path / "versions").iterdir()) == ["v2", "v3", "v4"]


@pytest.mark.parametrize("bad", [False, True])
def test_a_cut_at_each_file_operation_leaves_a_version_that_serves(
    tmp_path: Path, maps: tuple[Path, Path], bad: bool
) -> None:
    make_board(tmp_path / "board", maps, bad=bad, blind=bad)
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from support import cutoff; sys.exit(cutoff.main())"
    command = [sys.executable, "-c", code, str(ROOT / "tests"), str(tmp_path), str(maps[1]), "200", str(GUARD)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    tries = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(tries) > 15
    assert tries[-1]["whole"], "the last try is not cut off: every operation was"
    assert not any(one["whole"] for one in tries[:-1])
    served = [one["serves"] for one in tries]
    assert None not in served, tries
    assert set(served) == ({"v1"} if bad else {"v1", "v2"})
    assert served[0] == "v1"
    assert served[-1] == ("v1" if bad else "v2")
    # The same update runs again after the cut, and what serves then is the same as without one.
    assert {one["after"] for one in tries} == {"v1" if bad else "v2"}
