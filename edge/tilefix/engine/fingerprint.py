"""What an engine was built from and for. It serves nowhere else: its kernels were chosen for one GPU and runtime."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tilefix.engine.runtime import is_rtx
from tilefix.errors import EngineError

if TYPE_CHECKING:
    from tilefix.embedders.device import DeviceFacts
    from tilefix.manifest import ModelManifest

FINGERPRINT_FORMAT_VERSION = 1
_MAX_BYTES = 1 << 16
_L4T_RELEASE = Path("/etc/nv_tegra_release")
# Field -> what a person calls it. These must be the same here and now as they were at the build.
_MUST_AGREE = {
    "runtime": "runtime",
    "runtime_version": "version of the runtime",
    "cuda": "CUDA version of the driver",
    "compute_capability": "compute capability",
    "l4t": "Jetson Linux release",
}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """`model_sha256`: of the ONNX file that was built, at `model`. `descriptors_of`: of the FP32 ONNX file whose
    descriptors it gives. `engine_sha256`: of the plan. `l4t`: the Jetson Linux release as "36.4.3", "" elsewhere."""

    model: str
    model_sha256: str
    descriptors_of: str
    engine_sha256: str
    precision: str
    runtime: str
    runtime_version: str
    cuda: str
    gpu: str
    compute_capability: str
    l4t: str
    format_version: int = FINGERPRINT_FORMAT_VERSION

    def command(self, file: Path) -> str:
        """The command that builds the engine again, for the machine that it runs on."""
        words = ["tilefix", "engine", "build", "--model", self.model, "--precision", self.precision, "--out", str(file)]
        return shlex.join(words)

    def check(self, manifest: ModelManifest, trt: Any, gpu: DeviceFacts, file: Path) -> None:
        """Raises `EngineError`, with the command that mends it, when the engine is another model's or machine's."""
        wrong = []
        if self.engine_sha256 != manifest.sha256 or self.descriptors_of != manifest.identity:
            wrong.append("its fingerprint belongs to another engine or model")
        here = machine_facts(trt, gpu)
        for field, name in _MUST_AGREE.items():
            built, found = getattr(self, field), here[field]
            if built != found:
                wrong.append(f"{name} {built or 'none'} at its build, {found or 'none'} here")
        if wrong:
            raise EngineError(
                f"the engine does not fit: {'; '.join(wrong)}", where=file, mend=f"run {self.command(file)}"
            )


def machine_facts(trt: Any, gpu: DeviceFacts) -> dict[str, Any]:
    """The fields of a `Fingerprint` that describe this machine."""
    return {
        "runtime": "TensorRT-RTX" if is_rtx(trt) else "TensorRT",
        "runtime_version": str(trt.__version__),
        "cuda": gpu.cuda,
        "gpu": gpu.name,
        "compute_capability": gpu.compute_capability,
        "l4t": l4t_release(),
    }


def l4t_release(path: Path = _L4T_RELEASE) -> str:
    """The Jetson Linux release, as "36.4.3" (JetPack 6.2), or "" on a machine that is no Jetson."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")[:1000]
    except OSError:
        return ""
    found = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    return f"{found[1]}.{found[2]}" if found else text.split("\n")[0].strip()


def fingerprint_path(engine: Path) -> Path:
    """Where the fingerprint of an engine file lies: `x.engine.json` beside `x.engine`, whose manifest is `x.json`."""
    return engine.with_name(engine.name + ".json")


def write_fingerprint(fingerprint: Fingerprint, path: Path) -> None:
    """Writes it as JSON."""
    path.write_text(json.dumps(asdict(fingerprint), indent=2) + "\n")


def read_fingerprint(engine: Path) -> Fingerprint:
    """The fingerprint beside an engine file; raises `EngineError` when it is missing or wrong."""
    path = fingerprint_path(engine)

    def refuse(what: str) -> EngineError:
        return EngineError(what, where=path, mend="build the engine again with tilefix engine build")

    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        raw = json.loads(data[:_MAX_BYTES] if len(data) <= _MAX_BYTES else b"")
    except OSError as error:
        raise refuse(f"cannot read the engine's fingerprint: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise refuse("the engine's fingerprint is not JSON of its size") from error
    if not isinstance(raw, dict) or raw.get("format_version") != FINGERPRINT_FORMAT_VERSION:
        raise refuse(f"not a fingerprint of format {FINGERPRINT_FORMAT_VERSION}")
    names = {field.name for field in fields(Fingerprint)} - {"format_version"}
    if wrong := sorted((names | {"format_version"}) ^ raw.keys()):
        raise refuse(f"the fingerprint lacks, or does not know, {', '.join(map(str, wrong))[:200]}")
    if wrong := sorted(name for name in names if not isinstance(raw[name], str)):
        raise refuse(f"{', '.join(wrong)} must be text")
    return Fingerprint(**{name: raw[name] for name in names})
