"""`tilefix run`: from a configuration to a daemon that flies until it is told to stop."""

from __future__ import annotations

import argparse
import datetime
import logging
import os
import signal
import threading
from contextlib import ExitStack, closing
from pathlib import Path

from tilefix.errors import EngineError, TilefixError
from tilefix.service.assembly import assemble, map_warnings, open_localizer
from tilefix.service.config import load_config
from tilefix.service.supervisor import Supervisor
from tilefix.timing import MonotonicClock
from tilefix.update.trial import prove

_logger = logging.getLogger(__name__)
_kept: list[ExitStack] = []


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `tilefix run`."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the flight's configuration, TOML")
    parser.add_argument("--record", type=Path, metavar="DIR", help="record a flight folder there ([record] path)")


def run(args: argparse.Namespace) -> int:
    """Flies by a configuration until SIGTERM, SIGINT or the end of a recorded source.

    Whatever cannot fly before somebody mends it ends with status 78 (EX_CONFIG of sysexits.h), by which a service
    manager knows not to try again; an engine or GPU that failed may well serve the next time.
    """
    try:
        return _fly(args)
    except TilefixError as error:
        if not isinstance(error, EngineError):
            error.exit_status = os.EX_CONFIG
        raise


def _fly(args: argparse.Namespace) -> int:
    config = load_config(args.config)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("faiss").setLevel(logging.WARNING)  # it tells which of its builds it could not load
    with ExitStack() as stack:
        localizer = stack.enter_context(open_localizer(config))
        warnings = map_warnings(config, datetime.datetime.now(datetime.timezone.utc).date())
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        record = args.record or config.record.path
        with (
            closing(Supervisor(proved=_end_trial)) as supervisor,
            assemble(
                config, localizer, MonotonicClock(), record=record, warnings=warnings, supervisor=supervisor
            ) as daemon,
        ):
            ended = daemon.run(stop)
        if not ended:
            # What the frame is being looked at with stays open until the process ends.
            _kept.append(stack.pop_all())
    return 0


def _end_trial() -> None:
    """What an update brought has served well: it stays. Trial and state folder are named by the service's unit."""
    trial, state = os.environ.get("TILEFIX_TRIAL"), os.environ.get("STATE_DIRECTORY")
    if trial and state:
        try:
            prove(Path(trial), Path(state))
        except OSError:
            _logger.exception("the trial of the last update could not be ended")
