"""The flash script against a fake BSP: the command for every board, what it refuses, and what it puts into the root."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.deploying import DEPLOY, Signer, fake_bsp, fake_rootfs, run, script, signed_bundle

RELEASES = {6: (36, 4, 4), 7: (39, 2, 0)}
PYTHONS = {6: "3.10", 7: "3.12"}
MODULES = {"orin-nano": "7523", "orin-nx": "7323", "agx-orin": "7023"}

pytestmark = pytest.mark.skipif(
    shutil.which("openssl") is None or os.uname().sysname != "Linux", reason="needs openssl and GNU tar"
)

# As NVIDIA's Quick Starts of Jetson Linux 36.4 and 39.2 have them.
QSPI = "-p -c\\ bootloader/generic/cfg/flash_t234_qspi.xml"
LAYOUT = "-c tools/kernel_flash/flash_l4t_t234_nvme.xml"
OLD = "./tools/kernel_flash/l4t_initrd_flash.sh"
COMMANDS = {
    ("orin-nano", 6, "nvme"): f"{OLD} --external-device nvme0n1p1 {LAYOUT} {QSPI} --showlogs --network usb0"
    " jetson-orin-nano-devkit internal",
    ("orin-nano", 6, "sd"): f"{OLD} --external-device mmcblk0p1 {LAYOUT} {QSPI} --showlogs --network usb0"
    " jetson-orin-nano-devkit internal",
    ("orin-nx", 6, "nvme"): f"{OLD} --external-device nvme0n1p1 {LAYOUT} {QSPI} --showlogs --network usb0"
    " jetson-orin-nano-devkit internal",
    ("orin-nx", 6, "sd"): f"{OLD} --external-device mmcblk0p1 {LAYOUT} {QSPI} --showlogs --network usb0"
    " jetson-orin-nano-devkit internal",
    ("agx-orin", 6, "nvme"): f"{OLD} --external-device nvme0n1p1 {LAYOUT} --showlogs --network usb0"
    " jetson-agx-orin-devkit external",
    ("agx-orin", 6, "sd"): f"{OLD} --external-device mmcblk0p1 {LAYOUT} --showlogs --network usb0"
    " jetson-agx-orin-devkit external",
    ("orin-nano", 7, "nvme"): "./l4t_initrd_flash.sh --erase-all jetson-orin-nano-devkit internal",
    ("orin-nano", 7, "sd"): "./l4t_initrd_flash.sh --erase-all --external-device mmcblk0p1"
    " jetson-orin-nano-devkit internal",
    ("orin-nx", 7, "nvme"): "./l4t_initrd_flash.sh --erase-all jetson-orin-nano-devkit internal",
    ("orin-nx", 7, "sd"): "./l4t_initrd_flash.sh --erase-all --external-device mmcblk0p1"
    " jetson-orin-nano-devkit internal",
    ("agx-orin", 7, "nvme"): f"./l4t_initrd_flash.sh --erase-all --external-device nvme0n1p1 {LAYOUT}"
    " jetson-agx-orin-devkit external",
    ("agx-orin", 7, "sd"): f"./l4t_initrd_flash.sh --erase-all --external-device mmcblk0p1 {LAYOUT}"
    " jetson-agx-orin-devkit external",
}
DISKS = {"nvme": "nvme0n1", "sd": "mmcblk0"}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives, bundles and keys for both JetPacks."""
    folder = tmp_path_factory.mktemp("given")
    signer = Signer(folder / "keys")
    shutil.copy(signer.public, folder / "release.pub")
    Signer(folder / "others", key_id=b"somebody").public.rename(folder / "other.pub")
    for jetpack, release in RELEASES.items():
        place = folder / str(jetpack)
        place.mkdir()
        fake_bsp(place, release).rename(place / "bsp.tbz2")
        fake_rootfs(place, PYTHONS[jetpack]).rename(place / "rootfs.tbz2")
        signed_bundle(place, signer, python=PYTHONS[jetpack])
    (folder / "password").write_text("secret\n", encoding="utf-8")
    return folder


def flash(
    given: Path,
    work: Path,
    *more: str,
    board: str = "orin-nano",
    jetpack: int = 6,
    storage: str = "nvme",
    **change: Path,
) -> subprocess.CompletedProcess[str]:
    """Runs the script with good arguments, changed by `change` and followed by `more`."""
    place = given / str(jetpack)
    options: dict[str, str | Path] = {
        "bsp": place / "bsp.tbz2",
        "rootfs": place / "rootfs.tbz2",
        "bundle": place / "bundle.tar.gz",
        "key": given / "release.pub",
        "password-file": given / "password",
        "user": "pilot",
        "board": board,
        "jetpack": str(jetpack),
        "storage": storage,
        "work": work / "work",
        **change,
    }
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    return run(
        [DEPLOY / "flash_jetson.sh", *words, "--accept-license", *more],
        path=work / "bin",
        CALLS=work / "calls.txt",
        TILEFIX_FLASH_GB="0",
    )


def plug_in(work: Path, *products: str) -> None:
    """What lsusb shows: NVIDIA's products on USB."""
    lines = "\n".join(f"Bus 001 Device 00{n}: ID 0955:{one} NVIDIA Corp. APX" for n, one in enumerate(products))
    script(work / "bin", "lsusb", f"cat <<'TEXT'\n{lines}\nTEXT" if products else "exit 1")


@pytest.mark.parametrize(("board", "jetpack", "storage"), list(itertools.product(MODULES, RELEASES, DISKS)))
def test_every_board_gets_the_command_of_nvidias_manual(
    board: str, jetpack: int, storage: str, given: Path, tmp_path: Path
) -> None:
    disk = DISKS[storage]
    done = flash(given, tmp_path, "--dry-run", "--flash", f"/dev/{disk}", board=board, jetpack=jetpack, storage=storage)
    assert done.returncode == 0, done.stderr
    assert f"+ env -C {tmp_path}/work/Linux_for_Tegra {COMMANDS[board, jetpack, storage]}\n" in done.stdout
    assert f"everything on {disk} of the {board} is overwritten" in done.stdout
    assert "secret" not in done.stdout
    assert not (tmp_path / "work").exists()
    assert ("microSD slot" in done.stderr) == (storage == "sd" and board != "orin-nano")


def test_nothing_is_flashed_unless_the_device_is_named(given: Path, tmp_path: Path) -> None:
    done = flash(given, tmp_path, "--dry-run")
    assert done.returncode == 0
    assert "not flashed; to flash it, add: --flash nvme0n1" in done.stdout
    assert "is overwritten" not in done.stdout
    assert f"+ env -C {tmp_path}/work/Linux_for_Tegra ./apply_binaries.sh" in done.stdout


def test_super_and_carrier_boards_take_their_own_configuration(given: Path, tmp_path: Path) -> None:
    assert "jetson-orin-nano-devkit-super internal" in flash(given, tmp_path, "--super", "--dry-run").stdout
    refused = flash(given, tmp_path, "--super", "--dry-run", board="agx-orin")
    assert refused.returncode == 2
    assert "no configuration jetson-agx-orin-devkit-super.conf" in refused.stderr
    refused = flash(given, tmp_path, "--board-config", "my-carrier", "--dry-run")
    assert "no configuration my-carrier.conf" in refused.stderr


def test_small_boards_are_erased_first_from_36_5_on(given: Path, tmp_path: Path) -> None:
    bsp = fake_bsp(tmp_path, (36, 5, 0))
    assert "--erase-all" in flash(given, tmp_path, "--dry-run", bsp=bsp).stdout
    assert "--erase-all" not in flash(given, tmp_path, "--dry-run", bsp=bsp, board="agx-orin").stdout


@pytest.mark.parametrize(
    ("change", "more", "complaint"),
    [
        ({"board": "nano"}, (), "--board nano: orin-nano, orin-nx or agx-orin"),
        ({"jetpack": "5"}, (), "--jetpack: 6 or 7"),
        ({"storage": "usb"}, (), "--storage: nvme or sd"),
        ({}, ("--flash", "sda"), "the board's nvme0n1 is overwritten; name that"),
        ({}, ("--flash", "mmcblk0"), "the board's nvme0n1 is overwritten; name that"),
        ({"user": "tilefix"}, (), "the service has that name"),
        ({"user": "Root me"}, (), "--user: a login name"),
        ({"hostname": "a b"}, (), "--hostname a b"),
        ({"config": "../x"}, (), "--config ../x"),
        ({"config": "other"}, (), "the bundle has no config/other.toml"),
        ({"board-config": "../x"}, (), "--board-config ../x"),
        ({"hostname": ""}, (), "--hostname is unknown or needs a value"),
        ({}, ("--erase",), "unknown option --erase"),
    ],
)
def test_what_was_asked_for_is_checked(
    change: dict[str, str], more: tuple[str, ...], complaint: str, given: Path, tmp_path: Path
) -> None:
    done = flash(given, tmp_path, *more, "--dry-run", **change)
    assert done.returncode == 2
    assert complaint in done.stderr


def test_wrong_archives_are_refused(given: Path, tmp_path: Path) -> None:
    def refusal(**change: Path) -> str:
        done = flash(given, tmp_path, "--dry-run", **change)
        assert done.returncode == 2
        return done.stderr

    assert "is Jetson Linux 39.2, JetPack 6 is Jetson Linux 36" in refusal(bsp=given / "7/bsp.tbz2")
    (tmp_path / "thor").mkdir()
    assert "for Thor only" in refusal(bsp=fake_bsp(tmp_path / "thor", (38, 4, 0)))
    assert "lacks nv_tegra/bsp_version" in refusal(bsp=given / "6/rootfs.tbz2")
    assert "lacks apply_binaries.sh" in refusal(bsp=fake_bsp(tmp_path, (36, 4, 3), left_out=("apply_binaries.sh",)))
    assert "not a whole archive" in refusal(bsp=given / "password")
    assert "has no Python 3.10" in refusal(rootfs=given / "7/rootfs.tbz2")
    assert "bundle is for Python 3.12, here is 3.10" in refusal(bundle=given / "7/bundle.tar.gz")
    assert "not among the 1 known" in refusal(key=given / "other.pub")
    assert "no file" in refusal(bundle=given / "missing")


def test_the_licence_is_accepted_by_a_person(given: Path, tmp_path: Path) -> None:
    done = run([DEPLOY / "flash_jetson.sh", "--board", "orin-nx", "--jetpack", "6", "--storage", "nvme"])
    assert done.returncode == 2
    assert "--accept-license" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0 or os.uname().machine != "x86_64", reason="needs root on x86_64")
class TestActing:
    """Not a dry run: NVIDIA's tools are fakes that write down what they were asked."""

    def test_the_root_gets_what_installs_itself(self, given: Path, tmp_path: Path) -> None:
        plug_in(tmp_path, MODULES["orin-nx"])
        done = flash(given, tmp_path, "--flash", "nvme0n1", "--hostname", "drone7", board="orin-nx")
        assert done.returncode == 0, done.stderr
        calls = (tmp_path / "calls.txt").read_text(encoding="utf-8").splitlines()
        assert calls == [
            "apply_binaries.sh ",
            "l4t_create_default_user.sh -u pilot -p secret -n drone7 --accept-license",
            "l4t_initrd_flash.sh " + COMMANDS["orin-nx", 6, "nvme"].split(" ", 1)[1].replace("\\", ""),
        ]
        root = tmp_path / "work/Linux_for_Tegra/rootfs"
        payload = root / "opt/tilefix-payload"
        assert (payload / "bundle.tar.gz").read_bytes() == (given / "6/bundle.tar.gz").read_bytes()
        assert (root / "etc/tilefix/keys/release.pub").read_bytes() == (given / "release.pub").read_bytes()
        wanted = root / "etc/systemd/system/multi-user.target.wants/tilefix-firstboot.service"
        assert "provision.sh --bundle /opt/tilefix-payload/bundle.tar.gz" in wanted.read_text(encoding="utf-8")
        assert (payload / "firstboot.env").read_text(encoding="utf-8") == "TILEFIX_CONFIG=tilefix\n"
        for name in ("provision.sh", "install.sh", "uninstall.sh"):
            assert os.access(payload / "deploy" / name, os.X_OK)

    def test_a_second_run_goes_on_with_what_is_unpacked(self, given: Path, tmp_path: Path) -> None:
        assert flash(given, tmp_path).returncode == 0
        done = flash(given, tmp_path)
        assert "is unpacked already" in done.stdout
        assert (tmp_path / "calls.txt").read_text(encoding="utf-8").count("apply_binaries.sh") == 1
        (tmp_path / "work/.unpacked").write_text("other archives\n", encoding="utf-8")
        done = flash(given, tmp_path)
        assert done.returncode == 2
        assert "half unpacked or from other archives" in done.stderr

    @pytest.mark.parametrize(
        ("products", "complaint"),
        [
            ((), "no board in recovery mode"),
            (("7023",), "the board on USB is 0955:7023, not an orin-nano"),
            (("7020",), "the board on USB is 0955:7020, not an orin-nano"),
            (("7523", "7323"), "several boards in recovery mode"),
        ],
    )
    def test_the_wrong_board_on_usb_stops_before_anything(
        self, products: tuple[str, ...], complaint: str, given: Path, tmp_path: Path
    ) -> None:
        plug_in(tmp_path, *products)
        done = flash(given, tmp_path, "--flash", "nvme0n1")
        assert done.returncode == 2
        assert complaint in done.stderr
        assert not (tmp_path / "work").exists()
