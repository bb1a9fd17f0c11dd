"""What is on trial after an update: which versions came into use and which were before.

The file `trial` in the state folder, lines of words:

    starts 1
    slot /opt/tilefix 0.2.0 0.1.0

It is written before the switch and removed by the service itself once it served well. `deploy/guard.sh` runs before
each start: it counts the starts and, when one too many was needed, switches back to what was before. Paths have no
blanks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tilefix.errors import UpdateError
from tilefix.update.slots import Slot, sync_folder, write_whole

TRIAL = "trial"
NONE = "-"  # no version before


@dataclass(frozen=True, slots=True)
class Change:
    """`version` came into use in `slot` in the place of `before` (`None`: it was the first)."""

    slot: Slot
    version: str
    before: str | None


def begin_trial(state: Path, changes: list[Change]) -> None:
    """Writes down what is about to be switched."""
    lines = ["starts 0"]
    for one in changes:
        if any(blank in str(one.slot.folder) for blank in " \t\n"):
            raise UpdateError("a folder with blanks in its name", where=one.slot.folder)
        lines.append(f"slot {one.slot.folder} {one.version} {one.before or NONE}")
    write_whole(state / TRIAL, "\n".join(lines) + "\n")


def trial_of(state: Path) -> list[Change]:
    """What is on trial. Raises `UpdateError` for a file that is none of ours."""
    path = state / TRIAL
    if not path.is_file():
        return []
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
    if not lines or lines[0][:1] != ["starts"] or any(len(line) != 4 or line[0] != "slot" for line in lines[1:]):
        raise UpdateError("is no list of what is on trial", where=path, mend="remove it")
    return [Change(Slot(Path(folder)), new, None if old == NONE else old) for _, folder, new, old in lines[1:]]


def end_trial(state: Path) -> None:
    """What was on trial is proved, or taken back."""
    if (state / TRIAL).exists():
        (state / TRIAL).unlink(missing_ok=True)
        sync_folder(state)


def take_back(state: Path) -> list[Change]:
    """Switches every slot on trial back to what was before, then ends the trial; gives what was taken back."""
    changes = [one for one in trial_of(state) if one.slot.current == one.version and one.before is not None]
    for one in changes:
        assert one.before is not None
        one.slot.switch(one.before)
    end_trial(state)
    return changes
