"""Proves the service under a real systemd: installed from a bundle without a network, flown, hung, killed and updated.

    python tools/prove_service.py --root DIR --bundle A.tar.gz --next-bundle B.tar.gz --json out/service.json

`DIR`: a Debian root with systemd (tools/booted_root.py says how to make one); it is copied first. The bundles are for
its Python, of two versions: deploy/bundle.sh --arch x86_64 --python 3.11 --unsigned [--version 0.2.0]. Needs root
rights.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from booted_root import BootedRoot
from debian_root import copy_root, put_bundle, put_map
from proof import arguments, handed_over
from tilefix.errors import TilefixError

REPOSITORY = Path(__file__).resolve().parent.parent
UNIT = "tilefix.service"
DRONE = "srv/drone"  # beside the service: the simulated aircraft, and what makes the service hang
CONFIG = """
[map]
path = "/var/lib/tilefix/maps/site/current"
[camera]
source = "unix:/srv/drone/camera.sock"
width = 640
height = 480
hfov_deg = 70.0
[link]
url = "udpin:127.0.0.1:14550"
"""
# Read by the service's Python at its start: hangs inside the engine as soon as the file `hang` is there.
HANG = """
import os, time
from tilefix.embedders import onnx
_embed = onnx.OnnxEmbedder.embed
def embed(self, *args, **more):
    while os.path.exists("/srv/drone/hang"):
        time.sleep(0.1)
    return _embed(self, *args, **more)
onnx.OnnxEmbedder.embed = embed
"""
DROP_IN = "[Service]\nEnvironment=PYTHONPATH=/srv/drone/hanging\n"
FLIES = "PYTHONPATH=/run/shared/tools exec /opt/tilefix/current/venv/bin/python /run/shared/tools/service_drone.py"


class Proof:
    """The booted root with the service in it, and what was measured."""

    def __init__(self, root: Path, booted: BootedRoot) -> None:
        self.root, self.booted = root, booted
        self.found: dict[str, Any] = {}

    def notes(self) -> list[dict[str, Any]]:
        """Every position that the drone heard."""
        path = self.root / DRONE / "heard.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def wait_for(self, what: str, holds: Callable[[], bool], limit_s: float = 60.0) -> float:
        """Seconds until something holds; raises `TilefixError` when it does not in time."""
        begun = time.monotonic()
        while time.monotonic() - begun < limit_s:
            if holds():
                return time.monotonic() - begun
            time.sleep(0.02)
        log = self.booted.run(["journalctl", "-u", UNIT, "-n", "30", "--no-pager"], check=False).stdout
        raise TilefixError(f"{what}: not within {limit_s:g} s\n{log}")

    def first_after(self, at_ns: int, *, denied: bool) -> dict[str, Any] | None:
        """The first position heard after an instant, with GNSS as said; what was mirrored comes only with GNSS."""
        return next((one for one in self.notes() if one["at_ns"] > at_ns and one["denied"] is denied), None)

    def deny(self, denied: bool) -> None:
        """Takes GNSS away, or gives it back."""
        path = self.root / DRONE / "denied"
        if denied:
            path.touch()
        else:
            path.unlink(missing_ok=True)

    def state(self) -> str:
        """What systemd says of the service."""
        return self.booted.show(UNIT, "ActiveState")

    def pid(self) -> int:
        """The service's main process."""
        return int(self.booted.show(UNIT, "MainPID"))


def install(proof: Proof, bundle: Path) -> None:
    """Provisions twice: the second time nothing changes."""
    inside = put_bundle(proof.root, bundle)
    command = ["/root/bundle/deploy/provision.sh", "--bundle", inside, "--unsigned", "--no-selftest"]
    begun = time.monotonic()
    proof.booted.run(command)
    proof.found["provision_s"] = round(time.monotonic() - begun, 1)
    again = proof.booted.run(["/root/bundle/deploy/provision.sh", "--no-selftest"]).stdout
    proof.found["second_provision"] = again.strip().splitlines()[-1]


def fly(proof: Proof) -> None:
    """Start to ready, to the first position, and to the first one without GNSS; memory; then stop to silence."""
    proof.booted.run(["sh", "-c", f"{FLIES} --folder /{DRONE} --build"])
    put_map(proof.root, proof.root / DRONE / "site")
    (proof.root / "etc/tilefix/tilefix.toml").write_text(CONFIG)
    drone = f"{FLIES} --folder /{DRONE}"
    proof.booted.run(["systemd-run", "--unit=drone", "-p", "Restart=always", "sh", "-c", drone])
    proof.wait_for("the drone's camera", lambda: (proof.root / DRONE / "camera.sock").exists())
    began_ns = time.monotonic_ns()
    proof.booted.run(["systemctl", "start", UNIT])
    proof.found["start_to_ready_s"] = round((time.monotonic_ns() - began_ns) / 1e9, 2)
    proof.wait_for("a position", lambda: proof.first_after(began_ns, denied=False) is not None)
    first = proof.first_after(began_ns, denied=False)
    assert first is not None
    proof.found["start_to_first_position_s"] = round((first["at_ns"] - began_ns) / 1e9, 2)
    time.sleep(12.0)
    proof.deny(True)
    time.sleep(20.0)
    own = [one["error_m"] for one in proof.notes() if one["denied"]][20:]
    if len(own) < 50:
        raise TilefixError(f"only {len(own)} positions without GNSS in 20 s")
    proof.found["without_gnss"] = {"positions": len(own), "median_m": sorted(own)[len(own) // 2], "max_m": max(own)}
    status = (Path("/proc") / str(_outer(proof.pid())) / "status").read_text()
    proof.found["memory_resident_mib"] = round(int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024)  # type: ignore[index]
    proof.found["memory_peak_mib"] = round(int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024)  # type: ignore[index]
    began_ns = time.monotonic_ns()
    proof.booted.run(["systemctl", "stop", UNIT])
    stopped_ns = time.monotonic_ns()
    proof.found["stop_s"] = round((stopped_ns - began_ns) / 1e9, 2)
    time.sleep(1.0)
    proof.found["stop_to_silence_s"] = round((proof.notes()[-1]["at_ns"] - began_ns) / 1e9, 2)
    proof.found["exit"] = proof.booted.show(UNIT, "Result")


def _outer(inner: int) -> int:
    """The process number here of one inside."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            match = re.search(r"^NSpid:\s+(\d+)\s+(\d+)$", status.read_text(), re.MULTILINE)
        except OSError:
            continue
        if match and int(match[2]) == inner and "tilefix" in (status.parent / "cmdline").read_text():
            return int(match[1])
    raise TilefixError(f"no process {inner} inside")


def hang(proof: Proof) -> None:
    """The engine hangs in a flight without GNSS: killed by the watchdog, started anew, positions again."""
    folder = proof.root / DRONE / "hanging"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HANG)
    drop_in = proof.root / "etc/systemd/system/tilefix.service.d"
    drop_in.mkdir()
    (drop_in / "hang.conf").write_text(DROP_IN)
    proof.booted.run(["systemctl", "daemon-reload"])
    proof.deny(False)
    proof.booted.run(["systemctl", "start", UNIT])
    time.sleep(15.0)
    proof.deny(True)
    time.sleep(5.0)
    before, began_ns = proof.pid(), time.monotonic_ns()
    (proof.root / DRONE / "hang").touch()
    # A steady track needs no engine: a restart, which searches, does.
    proof.booted.run(["systemctl", "kill", "-s", "SIGKILL", UNIT])
    proof.wait_for("a restart after a kill", lambda: proof.pid() not in (0, before) and proof.state() == "active")
    proof.found["kill_to_active_s"] = round((time.monotonic_ns() - began_ns) / 1e9, 2)
    hung = proof.pid()
    began_ns = time.monotonic_ns()
    proof.wait_for("the watchdog", lambda: proof.pid() != hung, 40.0)
    proof.found["hang_to_kill_s"] = round((time.monotonic_ns() - began_ns) / 1e9, 2)
    log = proof.booted.run(["journalctl", "-u", UNIT, "--no-pager"]).stdout
    proof.found["watchdog_in_log"] = "Watchdog timeout" in log
    (proof.root / DRONE / "hang").unlink()
    began_ns = time.monotonic_ns()
    proof.wait_for("positions again", lambda: proof.first_after(began_ns, denied=True) is not None, 60.0)
    again = proof.first_after(began_ns, denied=True)
    assert again is not None
    proof.found["unhung_to_position_without_gnss_s"] = round((again["at_ns"] - began_ns) / 1e9, 2)
    proof.found["error_after_restart_m"] = again["error_m"]
    (drop_in / "hang.conf").unlink()
    proof.booted.run(["systemctl", "daemon-reload"])
    proof.booted.run(["systemctl", "stop", UNIT])


def misconfigure(proof: Proof) -> None:
    """A configuration that is wrong ends with status 78, once; an engine that fails is tried so often and no more."""
    config = proof.root / "etc/tilefix/tilefix.toml"
    config.write_text(CONFIG.replace("hfov_deg = 70.0", "hfov_deg = 700.0"))
    proof.booted.run(["systemctl", "start", UNIT], check=False)
    time.sleep(4.0)
    proof.found["bad_config"] = {
        "state": proof.state(),
        "status": proof.booted.show(UNIT, "ExecMainStatus"),
        "restarts": int(proof.booted.show(UNIT, "NRestarts")),
    }
    proof.booted.run(["systemctl", "reset-failed", UNIT])
    config.write_text(CONFIG)
    drop_in = proof.root / "etc/systemd/system/tilefix.service.d"
    (drop_in / "fail.conf").write_text("[Service]\nExecStart=\nExecStart=/bin/false\n")
    proof.booted.run(["systemctl", "daemon-reload"])
    proof.booted.run(["systemctl", "start", UNIT], check=False)
    proof.wait_for("the limit of starts", lambda: proof.state() == "failed", 60.0)
    proof.found["rate_limit"] = {"state": proof.state(), "starts": int(proof.booted.show(UNIT, "NRestarts"))}
    shutil.rmtree(drop_in)
    proof.booted.run(["systemctl", "daemon-reload"])
    proof.booted.run(["systemctl", "reset-failed", UNIT])


def update(proof: Proof) -> None:
    """A version that does not serve is taken back by itself, while the service is started again and again."""
    versions = proof.root / "opt/tilefix/versions"
    good = Path((proof.root / "opt/tilefix/current").readlink()).name
    bad = versions / "9.9.9"
    shutil.copytree(versions / good, bad, symlinks=True)
    program = bad / "venv/bin/tilefix"
    program.write_text('#!/bin/sh\n[ "$1" = selftest ] && exit 0\nexit 1\n')  # serves nowhere, and says nothing of it
    (bad / "deploy/install.sh").write_text("#!/bin/sh\necho 9.9.9\n")
    installer = versions / good / "deploy/install.sh"
    kept = installer.read_text()
    installer.write_text("#!/bin/sh\necho 9.9.9\n")
    proof.booted.run(["systemctl", "start", UNIT])
    proof.wait_for("the service", lambda: proof.state() == "active")
    (proof.root / "root" / "bad.tar.gz").touch()
    began = time.monotonic()
    done = proof.booted.run(["tilefix", "update", "/root/bad.tar.gz", "--unsigned"], check=False)
    installer.write_text(kept)
    proof.found["bad_update"] = {
        "status": done.returncode,
        "said": done.stdout.strip().splitlines()[-1],
        "seconds": round(time.monotonic() - began, 1),
        "version": "the one before" if Path((proof.root / "opt/tilefix/current").readlink()).name == good else "WRONG",
    }
    proof.wait_for("the service", lambda: proof.state() == "active")


def upgrade(proof: Proof, bundle: Path) -> None:
    """A version that serves comes into use while the aircraft flies, and stays."""
    shutil.copy(bundle, proof.root / "root" / "next.tar.gz")
    began = time.monotonic()
    done = proof.booted.run(["tilefix", "update", "/root/next.tar.gz", "--unsigned"], check=False)
    proof.found["good_update"] = {
        "status": done.returncode,
        "said": done.stdout.strip().splitlines()[-1],
        "seconds": round(time.monotonic() - began, 1),
        "version": (proof.root / "opt/tilefix/current").readlink().name,
        "service": proof.state(),
    }


def uninstall(proof: Proof) -> None:
    """Nothing is left."""
    proof.booted.run(["systemctl", "stop", "drone"])
    proof.booted.run(["/root/bundle/deploy/provision.sh", "--uninstall", "--purge"])
    left = proof.booted.run(
        ["sh", "-c", "ls -d /opt/tilefix* /etc/tilefix* /var/lib/tilefix* /etc/systemd/system/tilefix* "
         "/usr/local/bin/tilefix 2>/dev/null; getent passwd tilefix; true"]
    ).stdout.split()  # fmt: skip
    proof.found["left_after_uninstall"] = left


def main(argv: Sequence[str] | None = None) -> int:
    """Runs every step and prints what was found; 2 with one line when a step fails."""
    parser = arguments(__doc__ or "", Path("/var/tmp/tilefix-service"))
    parser.add_argument("--next-bundle", type=Path, metavar="FILE", help="the same of another version: an update to it")
    parser.add_argument("--only", action="append", metavar="STEP", help="hang, misconfigure, update or uninstall")
    args = parser.parse_args(argv)

    def prove() -> dict[str, Any]:
        booted = BootedRoot(copy_root(args.root, args.work), REPOSITORY)
        try:
            return prove_all(Proof(args.work, booted), args.bundle, args.next_bundle, args.only)
        finally:
            booted.stop()

    return handed_over("prove_service", prove, args.json)


def prove_all(proof: Proof, bundle: Path, next_bundle: Path | None, only: Sequence[str] | None) -> dict[str, Any]:
    """Takes every step, or those named, and says so as each is done; gives what was found."""
    install(proof, bundle)
    score = proof.booted.run(["systemd-analyze", "security", UNIT, "--no-pager"], check=False).stdout
    proof.found["security_score"] = float(re.findall(r"([\d.]+) \w+ \S*$", score.strip().splitlines()[-1])[0])
    for step in (fly, hang, misconfigure, update, uninstall):
        if step is not fly and only and step.__name__ not in only:
            continue
        step(proof)
        sys.stdout.write(f"{step.__name__}: done\n")
        if step is update and next_bundle:
            upgrade(proof, next_bundle)
    return proof.found


if __name__ == "__main__":
    sys.exit(main())
