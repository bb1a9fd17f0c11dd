"""What hand-over goes by."""

from __future__ import annotations

from dataclasses import dataclass

from tilefix.toml.fields import chosen, limited


@dataclass(frozen=True)
class HandoverSettings:
    """When vision takes over, and when it hands back. Figures of detection were chosen on generated flights of seeds
    1000 to 1999 (`tools/evaluate_handover.py`).

    `loss_s`: without a 3D fix, then the receiver is lost; `silence_s`: the same without a word of it. `degraded_s`: of
    fewer satellites than `min_satellites`, or a worse dilution or accuracy than `max_hdop` and `max_accuracy_m`.
    `jump_m`: that its position jumps against its own velocity; it is then not believed for `distrust_s`.
    `gnss_delay_ms`: age of a receiver's position when it is heard. `window_s`, `min_window_s`: over which vision is
    scored, and the least for a verdict. `return_s`: of good GNSS that agrees with vision until it is handed back;
    `return_spoofed_s`: the same after spoofing, and where no vision is at hand to compare it with; after spoofing
    `return_s` is enough once vision ends.
    `on_spoofing`: `force` makes the autopilot use vision (its settings are put back afterwards), `announce` only tells
    the pilot, unless he orders vision. `veto_channel`: RC channel that holds vision back while high (0: none).
    """

    loss_s: float = limited(0.1, 10.0, 0.5)
    silence_s: float = limited(0.5, 10.0, 2.0)
    degraded_s: float = limited(0.5, 60.0, 3.0)
    min_satellites: int = limited(0, 40, 6)
    max_hdop: float = limited(0.5, 50.0, 4.0)
    max_accuracy_m: float = limited(1.0, 100.0, 10.0)
    jump_m: float = limited(5.0, 1000.0, 25.0)
    distrust_s: float = limited(1.0, 600.0, 30.0)
    gnss_delay_ms: float = limited(0.0, 1000.0, 100.0)
    window_s: float = limited(10.0, 600.0, 40.0)
    min_window_s: float = limited(5.0, 600.0, 15.0)
    return_s: float = limited(1.0, 600.0, 10.0)
    return_spoofed_s: float = limited(1.0, 600.0, 30.0)
    on_spoofing: str = chosen("force", "announce")
    veto_channel: int = limited(0, 18, 0)

    def __post_init__(self) -> None:
        if self.min_window_s > self.window_s:
            raise ValueError("min_window_s must not exceed window_s")
