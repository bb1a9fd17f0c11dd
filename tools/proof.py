"""What proofs on a Debian root share: their command line, and how what they found is handed over."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tilefix.errors import TilefixError
from tilefix.evaluation.results import write_results


def arguments(description: str, work: Path, *, bundle: str = "made by deploy/bundle.sh") -> argparse.ArgumentParser:
    """A parser of what every proof asks for. `bundle`: what the bundle has to be; `work`: where the root is copied."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="a Debian root with systemd")
    parser.add_argument("--bundle", type=Path, required=True, metavar="FILE", help=bundle)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--work", type=Path, default=work, metavar="DIR")
    return parser


def handed_over(program: str, prove: Callable[[], dict[str, Any]], file: Path | None) -> int:
    """Prints what `prove` found as JSON, and writes it to the file, if there is one; 0.

    2, with one line on standard error and nothing written, when a step fails.
    """
    try:
        text = json.dumps(prove(), indent=2) + "\n"
        sys.stdout.write(text)
        if file is not None:
            write_results(file.parent, {file.name: text})
    except (TilefixError, OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"{program}: {error}\n")
        return 2
    return 0
