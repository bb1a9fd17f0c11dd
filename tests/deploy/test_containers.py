"""The Dockerfiles take what is there, and what the installer needs."""

from __future__ import annotations

import re

import pytest

from support.deploying import DEPLOY

ROOT = DEPLOY.parent


def copied(name: str) -> set[str]:
    """The files that a Dockerfile takes from the repository."""
    text = (DEPLOY / name).read_text(encoding="utf-8").replace("\\\n", " ")
    words = [word for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    return {word for word in words if not word.startswith("$")}


@pytest.mark.parametrize("name", ["Dockerfile.edge", "Dockerfile.training"])
def test_what_is_copied_is_there(name: str) -> None:
    assert copied(name)
    assert [word for word in copied(name) if not (ROOT / word).exists()] == []


def test_the_installer_is_copied_with_all_it_reads() -> None:
    script = (DEPLOY / "install.sh").read_text(encoding="utf-8")
    needed = {f"deploy/{name}" for name in re.findall(r"\$HERE/([a-z]+\.(?:sh|py))", script)}
    assert needed == {"deploy/lib.sh", "deploy/bundle.py"}
    # bundle.py imports its neighbour.
    assert needed | {"deploy/minisign.py", "deploy/install.sh"} == copied("Dockerfile.edge")


def test_an_image_for_training_has_all_that_setup_cfg_names() -> None:
    named = {"setup.cfg", "pyproject.toml", "constraints.txt", "README.md", "LICENSE", "edge", "training"}
    assert named <= copied("Dockerfile.training")
