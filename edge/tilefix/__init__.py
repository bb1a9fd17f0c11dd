"""Position fixes without GNSS, from a downward camera and satellite tiles loaded before take-off."""

import os

__version__ = "0.1.0"

# ONNX Runtime on Linux (1.31 does, 1.23 does not) reports to its maker from its import on and keeps an identifier of
# the machine. Nothing leaves an aircraft unasked; whoever wants it sets the variable to 0 beforehand.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
