"""An update cut off by a power cut at each of its file operations in turn: run as a script, prints what became of each.

    cutoff.py FOLDER MAP TRIES BAD

`FOLDER` holds a copy of the installation for each try. `MAP`: the new map package. `BAD`: "yes" when the new version
does not serve. For each try the process is killed just before its n-th file operation; then the board starts, as often
as it takes until the service runs: guard, then the version in use. One line of JSON a try.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tilefix.update import command
from tilefix.update.trial import prove

_EVENTS = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod", "shutil.copyfile")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_MOST_BOOTS = 8


def update(folder: Path, new_map: Path, cut_at: int) -> bool:
    """Runs an update in a child that dies before its operation number `cut_at`; True when it lived to its end."""
    child = os.fork()
    if child == 0:
        done = 0

        def hook(event: str, args: tuple[object, ...]) -> None:
            nonlocal done
            changes = event in _EVENTS or (event == "open" and isinstance(args[2], int) and args[2] & _WRITES)
            if changes:
                done += 1
                if done == cut_at:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        sys.argv = ["tilefix"]
        status = 70
        try:
            status = update_here(folder, new_map)
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.WIFEXITED(status) and os.WEXITSTATUS(status) in (0, 1)


def update_here(folder: Path, new_map: Path) -> int:
    import argparse

    parser = argparse.ArgumentParser()
    command.configure(parser)
    words = [str(folder / "bundle"), "--map", str(new_map), "--software", str(folder / "opt"), "--no-restart"]
    words += ["--state", str(folder / "state"), "--config", str(folder / "tilefix.toml")]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return command.run(parser.parse_args(words))


def boot(folder: Path, guard: Path) -> tuple[str | None, int]:
    """Starts the board until the service serves: what serves, and the number of starts; `None` when nothing did."""
    for start in range(1, _MOST_BOOTS + 1):
        places = {"STATE_DIRECTORY": str(folder / "state" / "state"), "TILEFIX_TRIAL": str(folder / "opt" / "trial")}
        environment = {**os.environ, **places}
        subprocess.run(["sh", str(guard)], env=environment, check=True, stderr=subprocess.DEVNULL)
        program = folder / "opt" / "current" / "venv" / "bin" / "tilefix"
        served = subprocess.run([str(program), "run"], stdout=subprocess.PIPE, text=True, check=False)
        if served.returncode == 0:
            prove(folder / "opt" / "trial", folder / "state" / "state")
            return served.stdout.strip(), start
    return None, _MOST_BOOTS


def main() -> int:
    root, new_map, tries, guard = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    for cut_at in range(1, tries + 1):
        folder = root / f"try-{cut_at}"
        shutil.copytree(root / "board", folder, symlinks=True)
        for script in ("bundle", "opt/versions/v1/deploy/install.sh", "opt/versions/v1/venv/bin/tilefix"):
            text = (folder / script).read_text().replace(str(root / "board"), str(folder))
            (folder / script).write_text(text)
        whole = update(folder, new_map, cut_at)
        serves, starts = boot(folder, guard)
        again = update(folder, new_map, 1 << 30)
        after, _ = boot(folder, guard)
        found = {"whole": whole, "serves": serves, "starts": starts, "again": again, "after": after}
        sys.stdout.write(json.dumps({"cut_at": cut_at, **found}) + "\n")
        shutil.rmtree(folder)
        if whole:
            break
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
