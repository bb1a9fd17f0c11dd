"""Proves an installation in Debian roots without a network: set up twice, updated, taken off; a first start; aarch64.

    python tools/prove_deploy.py --root DIR --key release.pub --bundle A --next-bundle B [--python DIR]
    python tools/prove_deploy.py --root DIR --key release.pub --bundle A --first-start
    python tools/prove_deploy.py --root DIR --key release.pub --bundle A --aarch64-root DIR --aarch64-bundle C

Each with --json FILE where the figures are to be kept. The bundles are signed and for the roots' Python, A and B of two
versions: deploy/bundle.sh --arch ... --python 3.11 --key release.key [--version 0.2.0]. The roots are Debian's
(tools/booted_root.py says how to make one) and copied first. That for aarch64 needs qemu-user-static, registered with
binfmt:

    debootstrap --arch=arm64 --foreign --variant=minbase --include=python3-venv,openssl,libglib2.0-0 bookworm DIR
    chroot DIR /debootstrap/debootstrap --second-stage

Needs root rights.
"""

from __future__ import annotations

import csv
import math
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from booted_root import BootedRoot
from debian_root import OfflineRoot, copy_root, differences, put_bundle, put_map, size_mib, tree
from proof import arguments, handed_over
from tilefix.geodesy import LocalFrame

REPOSITORY = Path(__file__).resolve().parent.parent
PROVISION = "/root/bundle/deploy/provision.sh"
PROGRAM = "/opt/tilefix/current/venv/bin/python"
# useradd keeps what was before it.
KEPT_BY_USERADD = tuple(f"etc/{name}-" for name in ("passwd", "group", "shadow", "gshadow"))
CONFIG = """
[map]
path = "/var/lib/tilefix/maps/site/current"
[camera]
source = "v4l2:/dev/video0"
width = 640
height = 480
hfov_deg = 70.0
[link]
url = "udpin:127.0.0.1:14550"
"""
TOOL = f"PYTHONPATH=/run/shared/tools exec {PROGRAM} /run/shared/tools/"
FLIGHT = "--agl-m 120 --speed-mps 10 --width 640 --height 480 --hfov-deg 70 --rate-hz 4 --duration-s 5"


def _last(text: str) -> str:
    return text.strip().splitlines()[-1]


def _place(root: Path, bundle: Path, key: Path) -> list[str]:
    """Puts bundle and key where provision.sh is given them; its options for that."""
    shutil.copy(key, root / "root" / "release.pub")
    return ["--bundle", put_bundle(root, bundle), "--key", "/root/release.pub"]


def set_up_twice(root: Path, bundle: Path, next_bundle: Path, key: Path, python: Path | None) -> dict[str, Any]:
    """Provisioned twice, tested, updated to the next bundle, taken off: what each did, compared file by file."""
    options = _place(root, bundle, key)
    shutil.copy(next_bundle, root / "root" / "next.tar.gz")
    inside = OfflineRoot(root, REPOSITORY)
    if python is not None:
        shutil.copytree(python, root / "opt/python", symlinks=True)
        (root / "etc/ld.so.conf.d/python.conf").write_text("/opt/python/lib\n")
        inside.run(["ldconfig"])
        inside.run(["sh", "-c", "/opt/python/bin/python3 -m compileall -q /opt/python/lib || true"])
        options += ["--python", "/opt/python/bin/python3"]
    found: dict[str, Any] = {"python": inside.run([options[-1] if python else "python3", "--version"]).split()[-1]}
    before, begun = tree(root), time.monotonic()
    found["first"] = _last(inside.run([PROVISION, *options, "--no-selftest"]))
    found["first_s"] = round(time.monotonic() - begun, 1)
    found["installed_mib"] = size_mib(root / _target(root))
    once = tree(root)
    found["second"] = _last(inside.run([PROVISION, *options, "--no-selftest"]))
    found["differences_of_the_second"] = differences(once, tree(root))
    found |= _updated(inside)
    shutil.rmtree(root / "srv/drone")
    inside.run([PROVISION, "--uninstall", "--purge"])
    left = differences(before, tree(root))
    found["left_by_useradd"] = [one for one in left if one[2:] in KEPT_BY_USERADD]
    found["left_besides"] = [one for one in left if one[2:] not in KEPT_BY_USERADD]
    return found


def _target(root: Path) -> str:
    return f"opt/tilefix/{(root / 'opt/tilefix/current').readlink()}"


def _updated(inside: OfflineRoot) -> dict[str, Any]:
    """The self-test without a map and aircraft and with a generated map; then the next bundle, in use after it."""
    root, config = inside.root, "/etc/tilefix/tilefix.toml"
    (root / config[1:]).write_text(CONFIG)
    bare = inside.run(["runuser", "-u", "tilefix", "--", "tilefix", "selftest", config], statuses=(1,))
    inside.run(["sh", "-c", f"{TOOL}service_drone.py --folder /srv/drone --build"])
    put_map(root, root / "srv/drone/site")
    without = ["--without", "camera", "--without", "link"]
    ready = inside.run(["runuser", "-u", "tilefix", "--", "tilefix", "selftest", config, *without])
    before = _target(root)
    said = inside.run(["tilefix", "update", "/root/next.tar.gz", "--no-restart"])
    status = inside.run(["tilefix", "update", "--status"])
    return {
        "selftest_bare": _last(bare),
        "selftest_with_map": ready.strip().splitlines(),
        "update": {"from": before, "to": _target(root), "said": _last(said), "status": status.strip().splitlines()},
    }


def first_start(root: Path, bundle: Path, key: Path) -> dict[str, Any]:
    """A root laid out as flash_jetson.sh lays it out boots: it installs itself, once; then it is taken off."""
    deploy = REPOSITORY / "deploy"
    script = 'PROGRAM=payload; . "$0/lib.sh"; . "$0/payload.sh"; lay_payload "$@"'
    subprocess.run(["bash", "-euc", script, str(deploy), str(root), str(bundle), str(key), "tilefix"], check=True)
    begun = time.monotonic()
    booted = BootedRoot(root, REPOSITORY, boot_s=900.0)
    try:
        unit = "tilefix-firstboot.service"
        found: dict[str, Any] = {"boot_s": round(time.monotonic() - begun, 1), "result": booted.show(unit, "Result")}
        found["bundle_removed"] = not (root / "opt/tilefix-payload/bundle.tar.gz").exists()
        service = "tilefix.service"
        limit_s = time.monotonic() + 60.0
        while booted.show(service, "ActiveState") not in ("failed", "active") and time.monotonic() < limit_s:
            time.sleep(0.5)
        time.sleep(4.0)  # a restart would come after one
        fields = {"state": "ActiveState", "status": "ExecMainStatus", "restarts": "NRestarts"}
        found["service_without_a_map"] = {name: booted.show(service, field) for name, field in fields.items()}
        found["enabled"] = booted.run(["systemctl", "is-enabled", service, "tilefix-engine.service"]).stdout.split()
        again = "/opt/tilefix/current/deploy/provision.sh"
        found["second_provision"] = _last(booted.run([again, "--no-selftest"]).stdout)
        booted.run(["systemctl", "restart", unit])
        found["condition_of_a_second_first_start"] = booted.show(unit, "ConditionResult")
        booted.run([again, "--uninstall", "--purge"])
    finally:
        booted.stop()
    found["paths_left"] = [path for path in tree(root) if "tilefix" in path]
    return found


def agree(native: Sequence[Mapping[str, str]], other: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """How the rows of two fixes.csv of one flight agree: kinds, and how far positions lie apart, in mm."""
    apart_mm, same = [], len(native) == len(other)
    for one, two in zip(native, other, strict=False):
        same = same and (one["kind"], one["reason"]) == (two["kind"], two["reason"])
        if one["lat_deg"] and two["lat_deg"]:
            frame = LocalFrame(float(one["lat_deg"]), float(one["lon_deg"]))
            apart_mm.append(1e3 * math.hypot(*frame.to_local(float(two["lat_deg"]), float(two["lon_deg"]))))
    fixes = sum(one["kind"] == "fix" for one in native)
    return {
        "frames": len(native),
        "fixes": fixes,
        "same_kinds": same,
        "apart_max_mm": round(max(apart_mm, default=0.0), 3),
    }


def emulated(native: Path, bundle: Path, other: Path, other_bundle: Path, key: Path) -> dict[str, Any]:
    """Installs in both roots; a flight made in the first is replayed in both."""
    found: dict[str, Any] = {}
    rows = []
    flight = "/srv/proof"
    for root, file in ((native, bundle), (other, other_bundle)):
        options = _place(root, file, key)
        inside = OfflineRoot(root, REPOSITORY)
        machine = inside.run(["uname", "-m"]).strip()
        begun = time.monotonic()
        install = ["/root/bundle/deploy/install.sh", *options[2:], options[1]]
        found[machine] = {"install": _last(inside.run(install)), "install_s": round(time.monotonic() - begun)}
        if root is native:
            inside.run(["sh", "-c", f"{TOOL}service_drone.py --folder {flight} --build"])
            fly = f"{TOOL}simulate_flight.py --map {flight}/site --out {flight}/flight {FLIGHT} --seed 9400 --png"
            inside.run(["sh", "-c", fly])
        else:
            shutil.copytree(native / flight[1:], root / flight[1:])
        begun = time.monotonic()
        again = f"{TOOL}replay_flight.py --flight {flight}/flight --map {flight}/site --hint first --out {flight}/out"
        inside.run(["sh", "-c", again])
        found[machine]["replay_s"] = round(time.monotonic() - begun)
        with (root / flight[1:] / "out" / "fixes.csv").open(encoding="utf-8") as stream:
            rows.append(list(csv.DictReader(stream)))
    return found | agree(*rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the steps and prints what was found; 2 with one line when a step fails."""
    parser = arguments(__doc__ or "", Path("/var/tmp/tilefix-deploy"), bundle="made by deploy/bundle.sh, signed")
    parser.add_argument("--key", type=Path, required=True, metavar="FILE", help="the public key of the bundles")
    parser.add_argument(
        "--next-bundle", type=Path, metavar="FILE", help="the same of another version: sets up and updates"
    )
    parser.add_argument("--python", type=Path, metavar="DIR", help="a CPython's prefix, copied in and run on")
    parser.add_argument("--first-start", action="store_true", help="boot a root that installs itself")
    parser.add_argument("--aarch64-root", type=Path, metavar="DIR", help="the same for arm64")
    parser.add_argument("--aarch64-bundle", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    if (args.aarch64_root is None) != (args.aarch64_bundle is None):
        parser.error("--aarch64-root and --aarch64-bundle go together")

    def prove() -> dict[str, Any]:
        found: dict[str, Any] = {}
        if args.next_bundle:
            root = copy_root(args.root, args.work)
            found["set_up_twice"] = set_up_twice(root, args.bundle, args.next_bundle, args.key, args.python)
        if args.first_start:
            found["first_start"] = first_start(copy_root(args.root, args.work), args.bundle, args.key)
        if args.aarch64_root:
            other = copy_root(args.aarch64_root, args.work.with_name(args.work.name + "-aarch64"))
            native = copy_root(args.root, args.work)
            found["emulated"] = emulated(native, args.bundle, other, args.aarch64_bundle, args.key)
        return found

    return handed_over("prove_deploy", prove, args.json)


if __name__ == "__main__":
    sys.exit(main())
