"""How long the viewer stays, and how a browser is led to it."""

from __future__ import annotations

import html
import os
import signal
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

_SIGNALS = [number for name in ("SIGTERM", "SIGINT", "SIGHUP") if (number := getattr(signal, name, None)) is not None]
_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


@contextmanager
def browser_at(url: str) -> Iterator[None]:
    """Open a browser at an address, if there is one, and without its secret among the arguments of a program.

    Everybody on a machine can read those. So the browser is given a file that leads on, which is its owner's alone.
    """
    if sys.platform not in ("win32", "darwin") and not any(
        map(os.environ.get, _SCREENS)
    ):  # else a text browser takes the terminal
        yield
        return
    with tempfile.TemporaryDirectory(prefix="csc-visualize-") as folder:
        page = Path(folder) / "open.html"
        page.write_text(f'<meta http-equiv="refresh" content="0; url={html.escape(url)}">', "utf-8")
        # Of some browsers it returns when they are closed.
        threading.Thread(target=webbrowser.open, args=(page.as_uri(),), daemon=True).start()
        yield


@contextmanager
def ended_properly() -> Iterator[None]:
    """Let SIGTERM, and a terminal that is closed, end the program by an exception, so that all is tidied up."""

    def end(number: int, _: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    with _handlers(end, [number for number in _SIGNALS if number != signal.SIGINT]):
        yield


@contextmanager
def until_the_end() -> Iterator[Callable[[], None]]:
    """Give what waits for Ctrl-C, SIGTERM, or the end of the terminal; one that comes earlier is not lost."""
    ended = threading.Event()

    def wait() -> None:
        while not ended.wait(timeout=3600):
            pass

    with _handlers(lambda *_: ended.set(), _SIGNALS):
        yield wait


@contextmanager
def _handlers(handler: Callable[[int, FrameType | None], object], numbers: list[signal.Signals]) -> Iterator[None]:
    """Handle signals; those that are ignored, as by ``nohup``, still are."""
    previous = {number: signal.getsignal(number) for number in numbers}
    taken = {number: before for number, before in previous.items() if before is not signal.SIG_IGN}
    for number in taken:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in taken.items():
            signal.signal(number, before)
