"""install.sh: versions side by side, each whole or absent, and a `current` that runs wherever power is cut."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.deploying import DEPLOY, Signer, installable_bundle, run, script, signed_bundle

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None or shutil.which("flock") is None, reason="needs openssl and flock"
)
INSTALL = DEPLOY / "install.sh"
# Sourced by bash before a script: ends it as power does, before its command number CUT_AT.
CUT = 'set -T; n=0; trap \'n=$((n + 1)); [ "$n" -ne "$CUT_AT" ] || kill -KILL "$$"\' DEBUG\n'


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles of versions 1.0, 2.0 and one that does not run here, 3.0."""
    folder = tmp_path_factory.mktemp("given")
    signer = Signer(folder / "keys")
    shutil.copy(signer.public, folder / "release.pub")
    for version in ("1.0", "2.0", "3.0"):
        place = folder / version
        place.mkdir()
        installable_bundle(place, signer, version=version, broken=version == "3.0").rename(folder / f"{version}.tar.gz")
    signed_bundle(folder, signer).rename(folder / "elsewhere.tar.gz")
    return folder


def make_board(folder: Path, given: Path) -> Path:
    """A root with the release key in its place, and a `sync` that takes no time."""
    keys = folder / "etc/tilefix/keys"
    keys.mkdir(parents=True)
    shutil.copy(given / "release.pub", keys)
    script(folder / "bin", "sync", "exit 0")
    return folder


@pytest.fixture
def board(tmp_path: Path, given: Path) -> Path:
    """A root on which nothing is installed."""
    return make_board(tmp_path, given)


@pytest.fixture(scope="module")
def flown(tmp_path_factory: pytest.TempPathFactory, given: Path) -> Path:
    """A root with version 1.0 in use and 2.0 beside it."""
    folder = make_board(tmp_path_factory.mktemp("flown"), given)
    done = install(folder, given / "1.0.tar.gz")
    assert done.returncode == 0, done.stderr
    assert install(folder, "--stage", given / "2.0.tar.gz").stdout.splitlines()[-1] == "2.0"
    return folder


@pytest.fixture
def used(flown: Path) -> Path:
    """The same, whatever a test did to it before."""
    assert install(flown, "--switch", "1.0").returncode == 0
    (flown / "opt/tilefix/previous").unlink(missing_ok=True)
    return flown


def install(board: Path, *words: str | Path, cut_at: int | None = None) -> subprocess.CompletedProcess[str]:
    environment: dict[str, str | Path] = {}
    if cut_at is not None:
        (board / "cut.sh").write_text(CUT, encoding="utf-8")
        environment = {"BASH_ENV": board / "cut.sh", "CUT_AT": str(cut_at)}
    return run([INSTALL, "--root", board, "--python", sys.executable, *words], path=board / "bin", **environment)


def target(board: Path, link: str = "current") -> str:
    return (board / "opt/tilefix" / link).readlink().name


def current(board: Path) -> str:
    """The version in use, seen to run."""
    link = board / "opt/tilefix/current"
    assert (link / ".complete").is_file()
    assert run([link / "venv/bin/tilefix", "--version"]).stdout == "tilefix of the test\n"
    return target(board)


def versions(board: Path) -> list[str]:
    return sorted(path.name for path in (board / "opt/tilefix/versions").iterdir())


def test_a_version_is_installed_and_used(used: Path, given: Path) -> None:
    assert current(used) == "1.0"
    assert not (used / "opt/tilefix/versions/1.0/wheels").exists()
    again = install(used, given / "1.0.tar.gz")
    assert "is installed already" in again.stdout
    assert "is the current version already" in again.stdout


def test_the_next_version_takes_the_python_of_the_current_one(used: Path, given: Path) -> None:
    # The `python3` of this machine is not the one that the current version was installed with.
    script(used / "elsewhere", "python3", "echo 'the wrong Python' >&2; exit 1")
    done = run([INSTALL, "--root", used, "--verify", given / "2.0.tar.gz"], path=used / "elsewhere")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_version_is_switched_to_and_back(used: Path) -> None:
    assert install(used, "--switch", "2.0").returncode == 0
    assert current(used) == "2.0"
    assert install(used, "--list").stdout == "1.0 previous\n2.0 current\n"
    assert install(used, "--switch", "1.0").returncode == 0
    assert (current(used), target(used, "previous")) == ("1.0", "2.0")
    (used / "opt/tilefix/versions/0.9").mkdir()
    assert "0.9 (not whole)\n" in install(used, "--list").stdout
    assert install(used, "--prune").returncode == 0
    assert versions(used) == ["1.0", "2.0"]


def test_what_does_not_run_here_leaves_nothing(used: Path, given: Path) -> None:
    done = install(used, given / "3.0.tar.gz")
    assert done.returncode == 2
    assert "built for another machine" in done.stderr
    assert "does not run on this machine" in done.stderr
    assert current(used) == "1.0"
    assert versions(used) == ["1.0", "2.0"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("elsewhere.tar.gz",), "the bundle is for"),
        (("missing.tar.gz",), "no file"),
        (("--switch", "9.9"), "is not installed whole"),
        (("--switch", "../1.0"), "not a version"),
        (("--sweep",), "unknown option --sweep"),
        (("1.0.tar.gz", "2.0.tar.gz"), "one bundle at a time"),
        ((), "which bundle?"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    words: tuple[str, ...], complaint: str, board: Path, given: Path
) -> None:
    done = install(board, *(given / word if word.endswith(".gz") else word for word in words))
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_bundle_of_a_stranger_is_refused(board: Path, given: Path, tmp_path: Path) -> None:
    keys = board / "etc/tilefix/keys"
    (keys / "release.pub").unlink()
    assert "give --key" in install(board, given / "1.0.tar.gz").stderr
    shutil.copy(Signer(tmp_path / "stranger", key_id=b"stranger").public, keys)
    done = install(board, "--verify", given / "1.0.tar.gz")
    assert (done.returncode, "not among the 1 known" in done.stderr) == (2, True)
    assert not (board / "opt/tilefix/versions").exists()
    assert install(board, "--verify", "--key", given / "release.pub", given / "1.0.tar.gz").returncode == 0


def test_two_bundles_of_one_version_are_not_mixed(used: Path, given: Path, tmp_path: Path) -> None:
    signer = Signer(tmp_path / "second", key_id=b"second!!")
    other = installable_bundle(tmp_path, signer, commit="1" * 40)
    done = install(used, "--key", signer.public, other)
    assert (done.returncode, "is installed and in use" in done.stderr) == (2, True)
    assert current(used) == "1.0"


def test_a_dry_run_changes_nothing(board: Path, given: Path) -> None:
    before = sorted(board.rglob("*"))
    done = install(board, "--dry-run", given / "1.0.tar.gz")
    assert done.returncode == 0, done.stderr
    assert "would install 1.0" in done.stdout
    assert sorted(board.rglob("*")) == before


def test_power_cut_at_every_command_of_a_switch_leaves_a_whole_version(used: Path) -> None:
    seen = []
    for cut_at in range(1, 1000):
        done = install(used, "--switch", "2.0", cut_at=cut_at)
        seen.append(target(used))
        assert (used / "opt/tilefix/current/.complete").is_file()
        if done.returncode == 0:
            break
        assert done.returncode == -9
        if target(used) == "2.0":
            install(used, "--switch", "1.0")
    # Before the last rename the old one, after it the new one.
    assert len(seen) > 20
    assert seen == sorted(seen)
    assert set(seen) == {"1.0", "2.0"}
    assert current(used) == "2.0"


def test_power_cut_while_a_version_is_installed_leaves_the_other_one(used: Path, given: Path) -> None:
    shutil.rmtree(used / "opt/tilefix/versions/2.0")
    # While the files are checked and unpacked; when the virtual environment is there and all is soon marked whole.
    for cut_at in (50, 100):
        assert install(used, "--stage", given / "2.0.tar.gz", cut_at=cut_at).returncode == -9
        assert current(used) == "1.0"
        assert not (used / "opt/tilefix/versions/2.0/.complete").exists()
    assert (used / "opt/tilefix/versions/2.0/venv").exists()
    assert install(used, "--stage", given / "2.0.tar.gz").returncode == 0
    assert install(used, "--switch", "2.0").returncode == 0
    assert current(used) == "2.0"
    assert versions(used) == ["1.0", "2.0"]
