"""What the pure core asks of the outside world. Every adapter passes the contract suite of its port."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tilefix.links.commands import Result
    from tilefix.links.messages import HealthState, LinkMessage, Order, Origin, Report, Severity
    from tilefix.manifest import ModelManifest
    from tilefix.types import BoolArray, Float32Array, Frame, UInt8Array


class Clock(Protocol):
    """A monotonic clock."""

    def now_ns(self) -> int:
        """Nanoseconds since an arbitrary start; never goes back."""
        ...


class FrameSource(Protocol):
    """A camera: gives each picture once, the newest first dropped never duplicated."""

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame, or `None` when none came within `timeout_s`. Never blocks longer, never raises for a
        camera that vanished: it reopens with growing waits and gives `None` meanwhile."""
        ...

    @property
    def exhausted(self) -> bool:
        """True once a file or folder has no more frames; a live camera is never exhausted."""
        ...

    def close(self) -> None:
        """Releases the camera; may be called twice."""
        ...


class Embedder(Protocol):
    """Turns north-up nadir patches into descriptors."""

    @property
    def manifest(self) -> ModelManifest:
        """What the model is and what it may be used for."""
        ...

    def embed(self, patches: UInt8Array, masks: BoolArray | None = None) -> Float32Array:
        """Descriptors float32 (n, descriptor_dim), L2-normalised.

        `patches`: uint8 (n, patch_px, patch_px, 3) RGB, north up. `masks`: bool (n, patch_px, patch_px), True
        where the patch shows ground; `None` means everywhere. Raises `ModelError` on a wrong shape or type, and when
        it is closed.
        """
        ...

    def close(self) -> None:
        """Frees what the runtime holds; may be called twice. The manifest stays."""
        ...


class AutopilotLink(Protocol):
    """The way to one autopilot. No call blocks, and none raises for a link that is down: it reopens by itself."""

    def poll(self) -> Sequence[LinkMessage]:
        """What the vehicle's autopilot said since the last call, in order; also keeps the link alive. Traffic of
        other systems, and malformed traffic, is dropped."""
        ...

    @property
    def system_id(self) -> int | None:
        """The vehicle's system id, `None` until its autopilot was heard; nothing is sent before."""
        ...

    def send_report(self, report: Report) -> bool:
        """Sends a position by the route that its class stands for; False when it could not leave (it is then dropped:
        a late one is worth nothing)."""
        ...

    def set_origin(self, origin: Origin) -> bool:
        """Gives the autopilot's local frame its zero; one that has it keeps its own."""
        ...

    @property
    def transit_ns(self) -> int:
        """How long the quickest message takes to the autopilot; 0 before anything tells."""
        ...

    def send_command(self, command: int, *params: float) -> bool:
        """Sends a command (MAV_CMD) with up to seven numbers, once; the answer comes as a `CommandResult`."""
        ...

    def request_parameter(self, name: str) -> bool:
        """Asks for one of the autopilot's parameters, once; the answer comes as a `Parameter`, and none for a name
        that it does not know."""
        ...

    def set_parameter(self, name: str, value: float) -> bool:
        """Sets one of the autopilot's parameters, once; the answer comes as a `Parameter`. False also where its type
        is not known yet, and has to be read first."""
        ...

    def send_heartbeat(self, state: HealthState, mode: int = 0) -> bool:
        """Sends tilefix's own sign of life. `mode`: who gives the position (`tilefix.handover.machine.State`)."""
        ...

    def send_text(self, severity: Severity, text: str) -> bool:
        """Sends a line for the pilot, at most 50 bytes of ASCII; a longer one is cut."""
        ...

    def send_value(self, name: str, value: float, at_ns: int) -> bool:
        """Sends a named figure for the log and the ground station; of the name the first 10 bytes of ASCII."""
        ...

    def answer(self, order: Order, result: Result) -> bool:
        """Tells who sent an order what became of it."""
        ...

    def close(self) -> None:
        """Releases the link; may be called twice."""
        ...
