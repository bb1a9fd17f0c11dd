"""Bundles: what is sealed, signed and packed comes out again, and nothing else is let in."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from support.deploying import BUNDLE_PY, DEPLOY, Signer, bundle_py, bundle_tree, pack, run, seal, signed_bundle

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer(tmp_path_factory.mktemp("key"))


@pytest.fixture
def bundle(tmp_path: Path, signer: Signer) -> Path:
    return signed_bundle(tmp_path, signer, wheels__one="a wheel\n", deploy__lib="echo\n")


def read(
    archive: Path, *more: str | Path, command: str = "check", arch: str = "aarch64", python: str = "3.10"
) -> subprocess.CompletedProcess[str]:
    return bundle_py(command, archive, "--arch", arch, "--python", python, *more)


def rewrite(archive: Path, change: Callable[[Members], None]) -> None:
    """Packs the archive's members again after `change`."""
    with tarfile.open(archive, "r:gz") as tar:
        members = [(one, stream.read() if (stream := tar.extractfile(one)) else b"") for one in tar]
    change(members)
    with tarfile.open(archive, "w:gz") as tar:
        for entry, content in members:
            if entry.isreg():
                entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def named(members: Members, end: str) -> int:
    return next(n for n, (entry, _) in enumerate(members) if entry.name.endswith(end))


def new_entry(members: Members, name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    entry.linkname = link
    members.append((entry, content))


def test_what_was_packed_comes_out(bundle: Path, signer: Signer, tmp_path: Path) -> None:
    done = read(bundle, "--key", signer.public, "--into", tmp_path / "out", command="unpack")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "format": 1,
        "version": "1.0",
        "arch": "aarch64",
        "python": "3.10",
        "commit": "0" * 40,
    }
    tree = tmp_path / "tilefix-1.0-test"
    names = {path.relative_to(tree) for path in tree.rglob("*") if path.is_file()}
    found = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found == names - {Path("SHA256SUMS.minisig")}
    assert all((tmp_path / "out" / name).read_bytes() == (tree / name).read_bytes() for name in found)


def test_the_sums_are_those_of_sha256sum(bundle: Path, tmp_path: Path) -> None:
    done = run(["env", "-C", tmp_path / "tilefix-1.0-test", "sha256sum", "--check", "--quiet", "SHA256SUMS"])
    assert (done.returncode, done.stdout) == (0, "")


def test_the_same_files_make_the_same_archive(bundle: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tilefix-1.0-test"
    first = bundle.read_bytes()
    for path in tree.rglob("*"):
        path.touch()
    assert pack(tree, bundle).read_bytes() == first


def test_a_bundle_is_for_one_machine_and_one_python(bundle: Path, signer: Signer) -> None:
    done = read(bundle, "--key", signer.public, arch="x86_64")
    assert (done.returncode, "is for aarch64, this machine is x86_64" in done.stderr) == (2, True)
    done = read(bundle, "--key", signer.public, python="3.12")
    assert (done.returncode, "is for Python 3.10, here is 3.12" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", ["SHA256SUMS", "manifest.json", "wheels/one", "deploy/lib", "config/tilefix.toml"])
def test_a_changed_file_is_found(name: str, bundle: Path, signer: Signer, tmp_path: Path) -> None:
    def flip(members: Members) -> None:
        at = named(members, "/" + name)
        entry, content = members[at]
        members[at] = (entry, content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])

    rewrite(bundle, flip)
    done = read(bundle, "--key", signer.public, "--into", tmp_path / "out", command="unpack")
    assert done.returncode == 2
    assert "changed" in done.stderr


def test_a_longer_file_is_found_before_it_fills_the_disk(bundle: Path, signer: Signer, tmp_path: Path) -> None:
    def grow(members: Members) -> None:
        at = named(members, "/wheels/one")
        members[at] = (members[at][0], members[at][1] + b"0" * 1000)

    rewrite(bundle, grow)
    done = read(bundle, "--key", signer.public, "--into", tmp_path / "out", command="unpack")
    assert "size that was signed" in done.stderr
    assert not (tmp_path / "out/wheels/one").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda m: m.pop(named(m, "/wheels/one")), "'wheels/one' is missing"),
        (lambda m: new_entry(m, "tilefix-1.0-test/wheels/two", b"x"), "'wheels/two' is not listed"),
        (lambda m: m.append(m[named(m, "/wheels/one")]), "is there twice"),
        (lambda m: new_entry(m, "tilefix-1.0-test/../../evil", b"x"), "lies outside"),
        (lambda m: new_entry(m, "/etc/evil", b"x"), "lies outside"),
        (lambda m: new_entry(m, "other/evil", b"x"), "lies outside"),
        (lambda m: new_entry(m, "tilefix-1.0-test/link", kind=tarfile.SYMTYPE, link="/etc/passwd"), "not a regular"),
        (lambda m: new_entry(m, "tilefix-1.0-test/hard", kind=tarfile.LNKTYPE, link="/etc/passwd"), "not a regular"),
        (lambda m: new_entry(m, "tilefix-1.0-test/pipe", kind=tarfile.FIFOTYPE), "not a regular"),
        (lambda m: m.insert(0, m.pop(named(m, "/wheels/one"))), "does not start with SHA256SUMS"),
        (lambda m: m.pop(named(m, "/manifest.json")), "has no manifest.json"),
        (lambda m: m.pop(named(m, ".minisig")), "is not signed"),
        (lambda m: m.clear(), "does not start with SHA256SUMS"),
    ],
)
def test_what_was_put_in_or_taken_out_is_found(
    change: Callable[[Members], None], complaint: str, bundle: Path, signer: Signer, tmp_path: Path
) -> None:
    rewrite(bundle, change)
    done = read(bundle, "--key", signer.public, "--into", tmp_path / "a/out", command="unpack")
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "a/evil").exists()


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.9])
def test_an_archive_that_was_cut_off_is_found(kept: float, bundle: Path, signer: Signer) -> None:
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[: int(kept * len(whole) if isinstance(kept, float) else kept)])
    done = read(bundle, "--key", signer.public)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_flipped_bit_anywhere_is_found(bundle: Path, signer: Signer) -> None:
    raw = bytearray(gzip.decompress(bundle.read_bytes()))
    with tarfile.open(bundle, "r:gz") as tar:
        contents = [range(one.offset_data, one.offset_data + one.size) for one in tar if one.size]
    for content in contents:
        for at in (content.start, content.stop - 2):
            changed = raw.copy()
            changed[at] ^= 4
            bundle.write_bytes(gzip.compress(bytes(changed)))
            name = next(iter(content))
            # The untrusted comment of a signature is what its name says.
            if read(bundle, "--key", signer.public).returncode == 0:
                assert raw[name : name + 9] == b"untrusted"
                assert at == content.start


def test_another_key_and_no_key_are_refused(bundle: Path, tmp_path: Path) -> None:
    impostor = Signer(tmp_path / "impostor").public  # the same key id, another key
    assert "does not belong to this bundle" in read(bundle, "--key", impostor).stderr
    stranger = Signer(tmp_path / "stranger", key_id=b"stranger").public
    assert "signed with key" in read(bundle, "--key", stranger).stderr
    assert "give --key" in read(bundle).stderr
    assert "not minisign's" in read(bundle, "--key", DEPLOY / "lib.sh").stderr


def test_it_runs_as_a_program(bundle: Path, signer: Signer) -> None:
    done = run([sys.executable, "-B", "-s", "-E", BUNDLE_PY, "check", bundle, "--key", signer.public, "--arch", "arm"])
    assert done.returncode == 2
    assert (
        done.stderr == f"bundle: {bundle}: the bundle is for aarch64, this machine is arm (take the bundle for arm)\n"
    )


def test_a_signature_that_is_there_counts_even_where_none_is_asked_for(
    bundle: Path, signer: Signer, tmp_path: Path
) -> None:
    assert read(bundle, "--unsigned").returncode == 0
    impostor = Signer(tmp_path / "impostor").public
    assert read(bundle, "--unsigned", "--key", impostor).returncode == 2
    unsigned = bundle_tree(tmp_path / "other")
    seal(unsigned)
    archive = pack(unsigned, tmp_path / "unsigned.tar.gz")
    assert read(archive, "--unsigned").returncode == 0
    assert "is not signed" in read(archive, "--key", signer.public).stderr


def test_only_regular_files_are_sealed(tmp_path: Path) -> None:
    tree = bundle_tree(tmp_path)
    (tree / "link").symlink_to("/etc/passwd")
    words = ("seal", tree, "--arch", "a", "--python", "3.10", "--commit", "0", "--version")
    assert "only regular files" in bundle_py(*words, "1.0").stderr
    (tree / "link").unlink()
    assert "digits first" in bundle_py(*words, "../1").stderr


@pytest.mark.skipif(shutil.which("minisign") is None, reason="no minisign")
def test_minisign_and_bundle_py_understand_each_other(bundle: Path, signer: Signer, tmp_path: Path) -> None:
    sums = tmp_path / "tilefix-1.0-test/SHA256SUMS"
    assert run(["minisign", "-V", "-p", signer.public, "-m", sums]).returncode == 0
    secret, public = tmp_path / "secret", tmp_path / "public"
    assert run(["minisign", "-G", "-W", "-s", secret, "-p", public]).returncode == 0
    for more in ((), ("-l",)):  # the current kind of signature, and the older one over the file itself
        assert run(["minisign", "-S", *more, "-s", secret, "-m", sums]).returncode == 0
        done = read(pack(sums.parent, bundle), "--key", public)
        assert done.returncode == 0, done.stderr


def test_every_lock_has_what_setup_cfg_asks_for_at_the_tested_versions() -> None:
    import configparser

    from packaging.requirements import Requirement

    setup = configparser.ConfigParser()
    setup.read(DEPLOY.parent / "setup.cfg")
    lines = (DEPLOY.parent / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    wanted = [Requirement(line) for line in setup["options"]["install_requires"].split("\n") if line]
    wanted += [Requirement(line) for line in setup["options.extras_require"]["engine"].split("\n") if line]
    locks = sorted((DEPLOY / "locks").glob("*.txt"))
    assert [lock.stem for lock in locks] == [f"py{p}-{a}" for p in (310, 311, 312) for a in ("aarch64", "x86_64")]
    for lock in locks:
        python = f"3.{lock.stem[3:5]}"
        locked = dict(
            line.split(" ")[0].split("==")
            for line in lock.read_text(encoding="utf-8").splitlines()
            if not line.startswith("#")
        )
        here = {"python_version": python, "platform_machine": lock.stem.split("-")[1], "sys_platform": "linux"}
        for one in (one for one in wanted if one.marker is None or one.marker.evaluate(here)):
            pinned = [pin for pin in pins if pin.name == one.name and (pin.marker is None or pin.marker.evaluate(here))]
            assert [str(pin.specifier) for pin in pinned] == [f"=={locked[one.name]}"], (lock.name, one.name)
        assert ("cuda-bindings" in locked) == (lock.stem in ("py310-aarch64", "py312-aarch64"))


def test_a_digest_is_locked_for_every_wheel() -> None:
    for lock in (DEPLOY / "locks").glob("*.txt"):
        lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        assert len(lines) > 10
        for line in lines:
            digest = line.split(" --hash=sha256:")[1]
            assert len(bytes.fromhex(digest)) == hashlib.sha256().digest_size
