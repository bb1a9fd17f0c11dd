"""Training is tested where torch is installed; what flies is tested everywhere."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["test_*.py"]
