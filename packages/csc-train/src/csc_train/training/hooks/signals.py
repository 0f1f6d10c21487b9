"""Signals that ask a run to end: it saves its state after the step that is under way."""

from __future__ import annotations

import logging
import signal
import threading
from typing import Any

from csc_train.training.run import End, Hook, Run

logger = logging.getLogger(__name__)

_NAMES = ("SIGTERM", "SIGINT", "SIGUSR1")  # of schedulers, people, and schedulers that warn before the time is up


class Signals(Hook):
    """Takes signals while a run trains; a second Ctrl-C ends it at once."""

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}

    def on_start(self, run: Run) -> None:
        """Take over, unless this is a thread: signals reach the main one alone."""
        if threading.current_thread() is not threading.main_thread():
            return

        def end(number: int, frame: object) -> None:
            name = signal.Signals(number).name
            if number == signal.SIGINT and run.stopping is not None:
                raise KeyboardInterrupt
            run.stop(f"signal {name}")

        for name in _NAMES:
            number = getattr(signal, name, None)
            if number is not None:
                self._before[number] = signal.signal(number, end)

    def on_end(self, run: Run, end: End) -> None:
        """Give signals back to whom they went before."""
        for number, before in self._before.items():
            signal.signal(number, before if before is not None else signal.SIG_DFL)
        self._before = {}
