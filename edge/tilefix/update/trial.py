"""What is on trial after an update: which versions came into use and which were before.

The file `trial` beside the software's versions, root's, lines of words:

    trial 3f9c0a517be2d844
    starts 1
    slot /opt/tilefix 0.2.0 0.1.0

It is written before the switch. `deploy/guard.sh` runs as root before each start of the service: it counts the starts
and, when one too many was needed, switches back to what was before. The service itself may not write there: once it
served well it leaves the trial's name in its own folder, as the file `proved`. Paths have no blanks.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from tilefix.errors import UpdateError
from tilefix.update.slots import Slot, sync_folder, write_whole

TRIAL, PROVED = "trial", "proved"
NONE = "-"  # no version before
_MOST_BYTES = 200


@dataclass(frozen=True, slots=True)
class Change:
    """`version` came into use in `slot` in the place of `before` (`None`: it was the first)."""

    slot: Slot
    version: str
    before: str | None


def begin_trial(software: Path, changes: list[Change]) -> None:
    """Writes down what is about to be switched."""
    lines = [f"trial {secrets.token_hex(8)}", "starts 0"]
    for one in changes:
        if any(blank in str(one.slot.folder) for blank in " \t\n"):
            raise UpdateError("a folder with blanks in its name", where=one.slot.folder)
        lines.append(f"slot {one.slot.folder} {one.version} {one.before or NONE}")
    write_whole(software / TRIAL, "\n".join(lines) + "\n")


def trial_of(software: Path, state: Path) -> list[Change]:
    """What is on trial, and not proved yet by the service, whose own folder `state` is. Raises `UpdateError` for a file
    that is none of ours."""
    path = software / TRIAL
    if not path.is_file():
        return []
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    heads = [line[:1] for line in lines[:2]]
    if heads != [["trial"], ["starts"]] or any(len(line) != 4 or line[0] != "slot" for line in lines[2:]):
        raise UpdateError("is no list of what is on trial", where=path, mend="remove it")
    if _first_line(state / PROVED) == _first_line(path):
        return []
    return [Change(Slot(Path(folder)), new, None if old == NONE else old) for _, folder, new, old in lines[2:]]


def prove(trial: Path, state: Path) -> None:
    """What is on trial has served well: the service's word. Raises `OSError` where it cannot be read or said."""
    if trial.exists():
        write_whole(state / PROVED, trial.read_text(encoding="utf-8", errors="replace").partition("\n")[0] + "\n")


def end_trial(software: Path) -> None:
    """What was on trial is taken back, or over."""
    if (software / TRIAL).exists():
        (software / TRIAL).unlink(missing_ok=True)
        sync_folder(software)


def take_back(software: Path, state: Path) -> list[Change]:
    """Switches every slot on trial back to what was before, then ends the trial; gives what was taken back."""
    on_trial = trial_of(software, state)
    changes = [one for one in on_trial if one.slot.current == one.version and one.before is not None]
    for one in changes:
        assert one.before is not None
        one.slot.switch(one.before)
    end_trial(software)
    return changes


def _first_line(path: Path) -> str | None:
    """`proved` is the service's: root follows no link there, and waits for no pipe."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            head = os.read(descriptor, _MOST_BYTES)
        finally:
            os.close(descriptor)
        return head.decode().partition("\n")[0].strip() or None
    except (OSError, UnicodeDecodeError):
        return None
