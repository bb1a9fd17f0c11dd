"""What flies keeps no identifier of the machine and reports to nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EMBED = "from tilefix.embedders import open_embedder; open_embedder('default', 'onnxruntime').close()"


def test_embedding_leaves_nothing_in_the_users_folder(tmp_path: Path) -> None:
    kept = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
    environment = {name: value for name, value in os.environ.items() if name in kept}
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        folder = tmp_path / name
        folder.mkdir()
        environment[name] = str(folder)
    subprocess.run([sys.executable, "-B", "-c", EMBED], env=environment, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
