"""provision.sh on this machine under a throw-away layer, as root and without the network; and what it refuses."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.deploying import DEPLOY, Signer, installable_bundle, run, script, tiny_deb

PROVISION = DEPLOY / "provision.sh"
HERE = Path(__file__).parent


def can_layer() -> bool:
    """Whether a layer can be laid over this machine's root here, in a namespace of its own."""
    if os.geteuid() != 0 or not all(
        map(shutil.which, ("unshare", "useradd", "systemctl", "openssl", "chroot", "apt-get"))
    ):
        return False
    lay = (
        "d=$(mktemp -d) && mount -t tmpfs tmpfs $d && mkdir $d/u $d/w $d/m &&"
        " mount -t overlay overlay -o lowerdir=/,upperdir=$d/u,workdir=$d/w $d/m"
    )
    return subprocess.run(["unshare", "--mount", "--net", "sh", "-c", lay], capture_output=True).returncode == 0


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every step of provision_in_overlay.sh printed and left."""
    if not can_layer():
        pytest.skip("needs root, a systemd installation, and overlay file systems")
    given, out = tmp_path_factory.mktemp("given"), tmp_path_factory.mktemp("out")
    signer = Signer(given / "keys")
    bundle = installable_bundle(given, signer)
    (given / "2").mkdir()
    with_debs = installable_bundle(given / "2", signer, version="2.0", debs=[tiny_deb(given)])
    python = Path(sys.base_prefix) / "bin" / "python{}.{}".format(*sys.version_info)
    done = run(
        ["unshare", "--mount", "--net", HERE / "provision_in_overlay.sh", out, python, bundle, signer.public, with_debs]
    )
    assert done.returncode == 0, done.stderr
    return out


def said(board: Path, step: str) -> str:
    return (board / f"{step}.txt").read_text(encoding="utf-8")


def left(board: Path, step: str) -> dict[str, str]:
    """Path -> kind, mode, owner and sum or target, of all that differs from the machine below."""
    lines = (board / f"{step}.list").read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines)


def test_a_board_is_set_up_without_the_network(board: Path) -> None:
    assert said(board, "first").endswith("exit status 0\n")
    assert "enabled tilefix-power.service" in said(board, "first")
    assert "tilefix of the test" in said(board, "command")
    assert "(tilefix)" in said(board, "user")
    assert "(dialout)" in said(board, "user")
    paths = left(board, "first")
    assert {"./etc/udev/rules.d/70-tilefix.rules", "./etc/tilefix/keys/release.pub"} < set(paths)
    assert paths["./etc/tilefix/tilefix.toml"].startswith("file 640 0:")
    assert paths["./opt/tilefix/current"].endswith("versions/1.0")
    (version,) = (
        path for path in paths if path.startswith("./var/lib/tilefix/maps/site/versions/") and "tiles" in path
    )
    assert paths["./var/lib/tilefix/maps/site/current"].endswith(Path(version).parent.name)


def test_the_serial_ports_login_prompt_is_off(board: Path) -> None:
    assert "no login prompt on the serial port" in said(board, "first")
    assert said(board, "units").splitlines()[:2] == ["enabled", "disabled"]


def test_a_second_run_changes_nothing(board: Path) -> None:
    assert said(board, "second").endswith("provision: nothing to change\nexit status 0\n")
    assert left(board, "second") == left(board, "first")


def test_a_dry_run_changes_nothing_and_says_what_would_be(board: Path) -> None:
    assert left(board, "dry") == left(board, "before")
    assert said(board, "dry").endswith("exit status 0\n")
    assert "+ useradd --system" in said(board, "dry")
    assert "+ systemctl enable" in said(board, "dry")


def test_an_unfit_board_is_told_apart(board: Path) -> None:
    assert "not fit to fly yet" in said(board, "unfit")
    assert said(board, "unfit").endswith("exit status 3\n")


def test_uninstall_keeps_what_a_pilot_made(board: Path) -> None:
    paths = set(left(board, "kept"))
    assert {"./etc/tilefix/tilefix.toml", "./var/lib/tilefix/state/recordings/flight"} < paths
    assert not [path for path in paths if path.startswith(("./opt", "./usr/local/bin")) and "tilefix" in path]
    assert not [path for path in paths if path.startswith("./etc/systemd") and "tilefix" in path]
    assert said(board, "again").endswith("exit status 0\n")


def test_what_root_writes_lies_in_folders_that_only_root_may_change(board: Path) -> None:
    paths = left(board, "first")
    uid = said(board, "user").partition("uid=")[2].partition("(")[0]
    places = [path for path in paths if path.startswith(("./var/lib/tilefix", "./opt/tilefix", "./etc/tilefix"))]
    own = [path for path in places if path.startswith("./var/lib/tilefix/state")]
    assert {path.rpartition("/")[2] for path in own} == {"state", "engine", "recordings", "signing"}
    for path in places:
        kind, mode, owner = paths[path].split()[:3]
        assert owner.partition(":")[0] == (uid if path in own else "0"), path
        assert kind == "l" or int(mode, 8) & 0o022 == 0, path


def test_the_services_user_writes_nowhere_beside_its_folder(board: Path) -> None:
    assert said(board, "beside").count("Permission denied") == 4
    assert said(board, "beside").endswith("exit status 1\n")


def test_a_link_of_the_services_user_is_not_followed_by_root(board: Path) -> None:
    assert said(board, "astray").endswith("exit status 0\n")
    assert "state/engine cannot be made" in said(board, "linked")
    assert said(board, "linked").endswith("exit status 0\n")
    assert said(board, "precious").startswith("700 root\n")
    assert "No such file" in said(board, "new")


@pytest.mark.parametrize(
    ("step", "folder"), [("given", "site"), ("open_to_group", "site"), ("open_to_all", "site/versions")]
)
def test_a_map_is_not_put_into_a_folder_that_others_may_change(board: Path, step: str, folder: str) -> None:
    assert f"maps/{folder} is no folder of root's alone" in said(board, step)
    assert said(board, step).endswith("exit status 2\n")
    assert "./var/lib/tilefix/maps/site/current" not in left(board, step)


def test_a_map_in_use_that_others_may_swap_is_told(board: Path) -> None:
    assert "maps/site/versions is not root's alone" in said(board, "open")
    assert said(board, "open").endswith("exit status 0\n")
    assert "root's alone" not in said(board, "second") + said(board, "mended")
    assert "./var/lib/tilefix/maps/site/current" in left(board, "mended")


def test_purge_leaves_nothing(board: Path) -> None:
    assert said(board, "purged").endswith("exit status 0\n")
    left_over = {
        path: what
        for path, what in left(board, "purged").items()
        # Folders that were there before are listed, too; the copies with a hyphen are useradd's.
        if not (what.startswith("d ") and Path(path.removeprefix(".")).is_dir())
        and not same_as_below(path, what)
        and path not in ("./etc/passwd-", "./etc/group-", "./etc/shadow-", "./etc/gshadow-")
        and left(board, "before").get(path) != what
    }
    assert left_over == {}


def test_a_router_is_set_up_where_it_is_installed(board: Path) -> None:
    assert "mavlink-routerd is not installed" in said(board, "no_router")
    assert said(board, "no_router").endswith("exit status 2\n")
    assert said(board, "router").endswith("exit status 0\n")
    assert said(board, "router_unit").splitlines()[0] == "enabled"
    assert "Device=/dev/ttyTHS1\nBaud=921600\n" in said(board, "router_config")
    assert "./etc/tilefix/mavlink-router.conf" not in left(board, "purged")


def test_packages_of_jetpack_come_along(board: Path) -> None:
    assert "1 packages of JetPack" in said(board, "debs")
    assert said(board, "package") == "of-jetpack\t10.3\nexit status 0\n"
    assert "./opt/of-jetpack" in left(board, "debs")
    assert not [path for path in left(board, "debs") if path.startswith("./opt/tilefix") and "/debs" in path]
    assert "provision: nothing to change" in said(board, "debs_again")


def same_as_below(path: str, what: str) -> bool:
    """Whether a listed file has the content that this machine's own has."""
    if not what.startswith("file "):
        return False
    done = run(["sha256sum", Path(path.removeprefix("."))])
    return done.returncode == 0 and done.stdout.split()[0] == what.split()[3]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--bundle", "/nowhere.tar.gz"), "no file /nowhere.tar.gz"),
        (("--config", "../../etc/passwd"), "--config ../../etc/passwd"),
        (("--power-mode", "max"), "--power-mode max: a number"),
        (("--ntp", "a;b"), "--ntp: a host name"),
        (("--mavlink-router", "ttyTHS1"), "such as /dev/ttyTHS1:921600"),
        (("--purge",), "--purge goes with --uninstall"),
        (("--everything", "x"), "unknown option --everything"),
        (("--key",), "--key is unknown or needs a value"),
        (("bundle.tar.gz",), "unknown word bundle.tar.gz"),
    ],
)
def test_what_was_asked_for_is_checked(words: tuple[str, ...], complaint: str) -> None:
    done = run([PROVISION, "--dry-run", *words])
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(platform.system() != "Linux", reason="udev is Linux's")
def test_udev_rules_are_of_known_words_and_jump_to_labels_that_are_there() -> None:
    text = (DEPLOY / "udev/70-tilefix.rules").read_text(encoding="utf-8")
    rules = [line for line in text.splitlines() if line and not line.startswith("#")]
    keys = {"SUBSYSTEM", "SUBSYSTEMS", "KERNEL", "GOTO", "LABEL", "GROUP", "MODE", "SYMLINK", "ATTRS", "ENV"}
    labels = set()
    for rule in rules:
        for word in rule.split(", "):
            key, _, value = word.replace("+=", "=").replace("!=", "=").replace("==", "=").partition("=")
            assert key.partition("{")[0] in keys, rule
            assert value.startswith('"')
            assert value.endswith('"')
        labels |= {rule.split('"')[1]} if rule.startswith("LABEL") else set()
    assert {rule.split('GOTO="')[1].split('"')[0] for rule in rules if "GOTO" in rule} == labels


class TestPower:
    """power.sh with stand-ins for NVIDIA's programs."""

    @staticmethod
    def power(
        folder: Path, mode: str = "", clocks: str = "yes", *, refuses: bool = False
    ) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        calls = folder / "calls"
        calls.touch()
        script(
            folder / "bin",
            "nvpmodel",
            f'[ "$1" = -q ] && printf "NV Power Mode: 15W\\n0\\n" && exit 0; echo "nvpmodel $*" >> {calls};'
            f" exit {int(refuses)}",
        )
        script(folder / "bin", "jetson_clocks", f"echo jetson_clocks >> {calls}")
        done = run([DEPLOY / "power.sh"], path=folder / "bin", NVPMODEL_MODE=mode, JETSON_CLOCKS=clocks)
        return done, calls.read_text(encoding="utf-8").splitlines()

    def test_mode_and_clocks_are_set(self, tmp_path: Path) -> None:
        done, calls = self.power(tmp_path, "2")
        assert (done.returncode, calls) == (0, ["nvpmodel -m 2", "jetson_clocks"])

    def test_what_is_set_already_is_left(self, tmp_path: Path) -> None:
        assert self.power(tmp_path, "0", "no")[1] == []
        assert self.power(tmp_path, "", "no")[1] == []

    def test_a_refused_mode_and_nonsense_are_said(self, tmp_path: Path) -> None:
        done, _ = self.power(tmp_path, "3", refuses=True)
        assert (done.returncode, "power mode 3 was refused" in done.stderr) == (2, True)
        assert self.power(tmp_path, "max")[0].returncode == 2
        assert self.power(tmp_path, "", "maybe")[0].returncode == 2
