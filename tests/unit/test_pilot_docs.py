"""The pages for pilots name what the code says: every reason, and only commands and keys that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tilefix.cli import COMMANDS
from tilefix.types import Reason

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("first-flight.md", "operations.md", "troubleshooting.md", "safety.md", "autopilots.md", "deploy.md")


def test_every_reason_has_its_line_in_troubleshooting() -> None:
    page = (DOCS / "troubleshooting.md").read_text()
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]+) \|", page, re.MULTILINE))
    assert rows == {one.name: one.value for one in Reason}


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_that_a_page_gives_exist(page: str) -> None:
    text = (DOCS / page).read_text()
    blocks = "\n".join([*re.findall(r"```\n(.*?)```", text, re.DOTALL), *re.findall(r"^ {4}.*", text, re.MULTILINE)])
    named = set(re.findall(r"^ *(?:\$ )?(?:sudo (?:-u tilefix )?)?tilefix ([a-z-]+)", blocks, re.MULTILINE))
    named |= set(re.findall(r"`(?:sudo (?:-u tilefix )?)?tilefix ([a-z][a-z-]+)[ `]", text))
    assert named
    assert named <= set(COMMANDS)


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_that_a_page_points_to_exist(page: str) -> None:
    for target in re.findall(r"\]\(([a-z-]+\.md)", (DOCS / page).read_text()):
        assert (DOCS / target).is_file(), target


@pytest.mark.parametrize("page", PAGES)
def test_the_scripts_that_a_page_gives_exist(page: str) -> None:
    for script in re.findall(r"`((?:tools|deploy)/[\w/-]+\.(?:py|sh))", (DOCS / page).read_text()):
        assert (DOCS.parent / script).is_file(), script
