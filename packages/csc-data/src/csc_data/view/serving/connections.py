"""Connections on which nothing is asked hold nobody up: only so many of them may be open."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from aiohttp import web
from aiohttp.http import HttpProcessingError

MOST_WAITING = 200
"""More than thirty browsers keep; far fewer than the files that a process may open."""


class Connections:
    """Makes protocols for those who connect; beyond so many that wait, the one that has waited longest is cut.

    So nobody keeps others out by opening many connections and sending nothing, or a byte now and then.

    Parameters
    ----------
    server : aiohttp.web.Server
    """

    def __init__(self, server: web.Server) -> None:
        self._server = server
        self._answered: set[object] = set()

    def __call__(self) -> web.RequestHandler:
        """Return a protocol for a connection, after making room."""
        waiting = [one for one in self._server.connections if one not in self._answered]
        self.cut(waiting[: max(0, len(waiting) + 1 - MOST_WAITING)])
        return self._server()

    def cut(self, connections: Sequence[web.RequestHandler]) -> None:
        """Close some connections, whether or not what was written to them is read."""
        for one in connections:
            if one.transport is not None:
                one.transport.abort()

    @contextmanager
    def answering(self, connection: object) -> Iterator[None]:
        """Keep a connection open as long as a request of it is worked on."""
        self._answered.add(connection)
        try:
            yield
        finally:
            self._answered.discard(connection)


def quiet_logger() -> logging.Logger:
    """Return a logger for aiohttp that passes over requests that are not HTTP: those are the fault of who sent them."""
    logger = logging.getLogger(__name__)
    logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    return record.exc_info is None or not isinstance(record.exc_info[1], HttpProcessingError)
