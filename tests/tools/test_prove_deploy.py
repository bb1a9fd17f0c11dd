"""The parts of the proofs of an installation that need neither root rights nor a booted root."""

from __future__ import annotations

import io
import json
import random
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from support.tools import load_tool
from tilefix.errors import TilefixError

BASE = {"frame": "1.png", "kind": "fix", "reason": "", "lat_deg": "47.000000000", "lon_deg": "8.000000000"}
NO_FIX = {"frame": "2.png", "kind": "no_fix", "reason": "NO_MATCH", "lat_deg": "", "lon_deg": ""}


def test_every_kind_of_change_in_a_tree_is_told(tmp_path: Path) -> None:
    proofs = load_tool("debian_root")
    for name in ("stays", "written", "moded", "gone", "folder/inside"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("before")
    (tmp_path / "link").symlink_to("stays")
    (tmp_path / "proc").mkdir()
    before = proofs.tree(tmp_path)
    assert proofs.differences(before, proofs.tree(tmp_path)) == []
    (tmp_path / "written").write_text("after!")
    (tmp_path / "moded").chmod(0o600)
    (tmp_path / "gone").unlink()
    (tmp_path / "folder/new").touch()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("written")
    (tmp_path / "proc/1").touch()
    assert proofs.differences(before, proofs.tree(tmp_path)) == [
        "+ folder/new", "- gone", "~ link", "~ moded", "~ written",
    ]  # fmt: skip


def test_a_link_counts_by_its_target_and_is_not_followed(tmp_path: Path) -> None:
    proofs = load_tool("debian_root")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "large").write_bytes(bytes(3 << 20))
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to("../out")
    assert proofs.size_mib(tmp_path / "root") == 0
    assert proofs.size_mib(tmp_path / "out") == 3
    assert list(proofs.tree(tmp_path / "root")) == ["link"]


def test_a_copy_takes_the_place_of_a_copy_and_of_nothing_else(tmp_path: Path) -> None:
    root, work, mine = (tmp_path / name for name in ("root", "work", "mine"))
    (root / "etc").mkdir(parents=True)
    (root / "etc/debian_version").write_text("12")
    mine.mkdir()
    (mine / "letters").touch()
    copy_root = load_tool("debian_root").copy_root
    (copy_root(root, work) / "left").touch()
    assert not (copy_root(root, work) / "left").exists()
    with pytest.raises(TilefixError, match="no copy"):
        copy_root(root, mine)
    assert (mine / "letters").exists()


def test_what_is_no_root_of_debian_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "work").mkdir()
    words = ["--root", str(tmp_path / "root"), "--bundle", "a", "--next-bundle", "b", "--key", "k"]
    assert load_tool("prove_deploy").main([*words, "--work", str(tmp_path / "work")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("prove_deploy: ")
    assert len(error.splitlines()) == 1
    assert (tmp_path / "work").exists()


def test_a_bundle_that_is_missing_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("etc", "root"):
        (tmp_path / "debian" / name).mkdir(parents=True)
    (tmp_path / "debian/etc/debian_version").write_text("12")
    (tmp_path / "release.pub").touch()
    words = ["--root", str(tmp_path / "debian"), "--bundle", str(tmp_path / "none"), "--next-bundle", "b"]
    words += ["--key", str(tmp_path / "release.pub"), "--work", str(tmp_path / "work")]
    assert load_tool("prove_deploy").main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("prove_deploy: ")
    assert len(error.splitlines()) == 1


def test_answers_agree_by_kind_and_reason_and_lie_so_far_apart() -> None:
    agree = load_tool("prove_deploy").agree
    # 1e-8 degrees of latitude are 1.1 mm.
    moved = {**BASE, "lat_deg": "47.000000010"}
    assert agree([BASE, NO_FIX], [moved, NO_FIX]) == {
        "frames": 2, "fixes": 1, "same_kinds": True, "apart_max_mm": pytest.approx(1.112, abs=0.005),
    }  # fmt: skip
    assert not agree([BASE, NO_FIX], [BASE, {**NO_FIX, "reason": "BLURRED"}])["same_kinds"]
    assert not agree([BASE, NO_FIX], [BASE])["same_kinds"]


def wheel(*files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number, data in enumerate(files):
            archive.writestr(f"lib/{number}.so", data)
    return out.getvalue()


def elf(machine: int, *glibc: str) -> bytes:
    names = b"".join(f"\0GLIBC_{version}\0".encode() for version in glibc)
    return b"\x7fELF" + bytes(14) + struct.pack("<H", machine) + bytes(44) + names + b"GLIBCXX_3.99\0"


def make_bundle(folder: Path, *wheels: bytes) -> Path:
    path = folder / "b.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for number, data in enumerate(wheels):
            info = tarfile.TarInfo(f"t/wheels/{number}-1.0-py3-none-any.whl")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def test_a_bundle_tells_what_its_libraries_ask_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = bytes(range(100))
    bundle = make_bundle(tmp_path, wheel(elf(183, "2.9", "2.17"), elf(183, "2.4"), b"text"), wheel(plain))
    assert load_tool("examine_bundle").main([str(bundle)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "bundle": "b.tar.gz", "mib": 0, "wheels": 2, "libraries": 2, "machines": ["aarch64"], "glibc": "2.17",
    }  # fmt: skip
    mixed = make_bundle(tmp_path, wheel(elf(183)), wheel(elf(62), elf(40)))
    assert load_tool("examine_bundle").examine(mixed)["machines"] == ["aarch64", "machine 40", "x86_64"]


def test_half_a_bundle_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = make_bundle(tmp_path, wheel(random.Random(7).randbytes(5000)))
    bundle.write_bytes(bundle.read_bytes()[:2000])
    assert load_tool("examine_bundle").main([str(bundle)]) == 2
    assert load_tool("examine_bundle").main([str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 2
    assert error.startswith("examine_bundle: ")
