"""The server: Neuroglancer's own client, volumes, and the states to begin with, behind a secret, on one port.

All comes from one origin, so no other page may read anything, and one forwarded port of ssh suffices. A link holds a
secret that is drawn anew each time; whoever does not know it gets nothing. Each browser keeps its view in its own
address bar, so that several people can look at once.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import mimetypes
import os
import re
import secrets
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from csc_data.errors import CscError, InvalidArgumentError, import_extra
from csc_data.storage.stores.places import Part
from csc_data.view.live import BlockFuture
from csc_data.view.serving.connections import Connections, quiet_logger
from csc_data.view.serving.levels import ComputedLevel
from csc_data.view.serving.page import front_page
from csc_data.view.serving.volumes import ServedVolume

T = TypeVar("T")

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_CLIENT_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_JSON = (".zarray", ".zattrs", ".zgroup", "zarr.json")
_READERS = 8
_MOST_WAITING = 4  # for blocks that are computed: a browser opens six lines, and the other layers want some
_MOST_DIGITS = 6
_TURNS = 8  # of the loop, in which answers end, and those who have just connected become connections
_HEADERS = {
    "Cache-Control": "no-store",  # a run that is looked at goes on writing
    "Referrer-Policy": "no-referrer",  # the secret stands in the path
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "frame-ancestors 'self' http://localhost:* http://127.0.0.1:*",  # notebooks
    "Cross-Origin-Resource-Policy": "same-origin",
}


class ViewServer:
    """Serves volumes and states of the viewer to browsers; it runs in a thread of its own.

    Parameters
    ----------
    bind : str
        Address to listen on; the loopback by default, where no other machine reaches it.
    port : int
        0 takes one that is free.

    Raises
    ------
    InvalidArgumentError
        If it cannot listen there.
    """

    def __init__(self, bind: str = "127.0.0.1", port: int = 0) -> None:
        self.secret = secrets.token_urlsafe(24)
        self._volumes: list[ServedVolume] = []
        self._states: dict[str, tuple[str, Callable[[], Mapping[str, Any]]]] = {}
        self._spots: dict[str, list[Mapping[str, Any]]] = {}
        self._changed: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict
        self._client = _find_client()
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="view")
        self._waiting = 0
        self._socket = _listen(bind, port)
        self.bind, self.port = bind, self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._ended: asyncio.Event | None = None
        self._connections: Connections | None = None
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="view-server", daemon=True)
        self._thread.start()
        started.result()

    @property
    def origin(self) -> str:
        """Its address on this machine's network."""
        host = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(self.bind, self.bind)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def url(self) -> str:
        """The link that lets somebody in."""
        return f"{self.origin}/{self.secret}/"

    def add_volume(self, volume: ServedVolume) -> str:
        """Serve a volume from now on; return its source for Neuroglancer, below the address that the browser uses."""
        self._volumes.append(volume)
        return f"{volume.scheme}://{{origin}}/{self.secret}/data/{len(self._volumes) - 1}/"

    def add_state(self, name: str, title: str, state: Callable[[], Mapping[str, Any]]) -> None:
        """Offer a state of the viewer on the front page.

        Parameters
        ----------
        name : str
            It stands in the address.
        title : str
            What the page says of it.
        state : callable
            Returns it when a browser wants it. Sources begin with ``{origin}`` where they are served here, which
            becomes the address that the browser used.
        """
        self._states[name] = title, state

    def add_spots(self, name: str, spots: Sequence[Mapping[str, Any]]) -> None:
        """Offer spots of a state, which the front page lists below it: each has a title and what changes there."""
        self._spots[name] = list(spots)

    def state_text(self, name: str, origin: str) -> str:
        """Return a state as JSON, for a browser that came by an address."""
        return json.dumps(self._changed(self._states[name][1]())).replace("{origin}", origin)

    def change_states(self, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> None:
        """Change every state by a function before it is sent."""
        self._changed = change

    def close(self) -> None:
        """End it; open connections are cut."""
        ended = self._ended
        if ended is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(ended.set)
            self._thread.join(timeout=10)
        self._readers.shutdown(wait=False, cancel_futures=True)

    def __enter__(self) -> ViewServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, started: Future[None]) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve(started))
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)  # raised where it was to be started
        finally:
            self._socket.close()

    async def _serve(self, started: Future[None]) -> None:
        self._ended = asyncio.Event()
        runner = web.AppRunner(
            self._application(),
            access_log=None,
            logger=quiet_logger(),
            handle_signals=False,
            shutdown_timeout=0.5,
            handler_cancellation=True,
        )
        await runner.setup()
        assert runner.server is not None
        self._connections = Connections(runner.server)
        listening = await self._loop.create_server(self._connections, sock=self._socket)
        started.set_result(None)
        await self._ended.wait()
        for turn in range(2 * _TURNS):
            await asyncio.sleep(0)
            if turn >= _TURNS:
                self._connections.cut(runner.server.connections)  # closing them would wait for who does not read
        listening.close()
        await runner.cleanup()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/{secret}/", self._front)
        app.router.add_get("/{secret}/state/{name}", self._state)
        app.router.add_get("/{secret}/spots/{name}", self._spots_of)
        app.router.add_get("/{secret}/data/{number}/{path:.*}", self._data)
        app.router.add_get("/{secret}/v/{view}/{file:.*}", self._client_file)
        app.router.add_get("/{secret}/events/{view}", self._events)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Let in who knows the secret and comes from no other page; everybody else sees the same: nothing."""
        given = request.match_info.get("secret", "")
        if not secrets.compare_digest(given.encode("utf-8", "replace"), self.secret.encode()):
            return web.Response(status=404, headers=_HEADERS)
        # A link in a mail may be followed; what another page asks for by its scripts may not.
        follows = request.headers.get("Sec-Fetch-Mode") == "navigate"
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and not follows:
            return web.Response(status=403, headers=_HEADERS)
        assert self._connections is not None
        with self._connections.answering(request.protocol):
            response: web.StreamResponse = await handler(request)
        return response

    async def _front(self, request: web.Request) -> web.Response:
        titles = {name: title for name, (title, _) in self._states.items()}
        return web.Response(text=front_page(titles), content_type="text/html", headers=_HEADERS)

    async def _state(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._states:
            return web.Response(status=404, headers=_HEADERS)
        try:
            text = await self._off_loop(self.state_text, name, f"{request.scheme}://{request.host}")
        except CscError as error:
            return web.Response(status=500, text=str(error), headers=_HEADERS)
        return web.Response(text=text, content_type="application/json", headers=_HEADERS)

    async def _spots_of(self, request: web.Request) -> web.Response:
        text = json.dumps(self._spots.get(request.match_info["name"], []))
        return web.Response(text=text, content_type="application/json", headers=_HEADERS)

    async def _client_file(self, request: web.Request) -> web.Response:
        name = request.match_info["file"] or "index.html"
        file = self._client / name
        if not _CLIENT_FILE.fullmatch(name) or not file.is_file():
            return web.Response(status=404, headers=_HEADERS)
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        headers = _HEADERS if name == "index.html" else _HEADERS | {"Cache-Control": "max-age=86400"}
        return web.Response(body=file.read_bytes(), content_type=kind, headers=headers)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Keep the client's line to "Python" open: nothing is ever said on it, as the state lies in the link."""
        response = web.StreamResponse(headers=_HEADERS | {"Content-Type": "text/event-stream"})
        await response.prepare(request)
        assert self._ended is not None
        await self._ended.wait()
        return response

    async def _data(self, request: web.Request) -> web.Response:
        number, path = request.match_info["number"], request.match_info["path"]
        if not number.isdecimal() or len(number) > _MOST_DIGITS or int(number) >= len(self._volumes):
            return web.Response(status=404, headers=_HEADERS)
        volume = self._volumes[int(number)]
        try:
            part = parse_range(request.headers.get("Range"))
            if request.method == "HEAD":
                size = await self._off_loop(volume.size, path)
                headers = _HEADERS | ({} if size is None else {"Content-Length": str(size)})
                return web.Response(status=404 if size is None else 200, headers=headers)
            computed = volume.ask(path)
            if computed is not None:
                return await self._when_computed(*computed)
            content = await self._off_loop(volume.read, path, part)
        except (CscError, OSError, MemoryError, ValueError) as error:
            return web.Response(status=500, text=str(error), headers=_HEADERS)
        if content is None:
            return web.Response(status=404, headers=_HEADERS)
        kind = "application/json" if path.rpartition("/")[2] in _JSON else "application/octet-stream"
        if part is None or kind == "application/json":
            return web.Response(body=content, content_type=kind, headers=_HEADERS)
        if not content:
            return web.Response(status=416, headers=_HEADERS)
        size = await self._off_loop(volume.size, path)
        first = part[0] if part[0] >= 0 else max(0, (size or 0) + part[0])
        where = f"bytes {first}-{first + len(content) - 1}/{'*' if size is None else size}"
        return web.Response(status=206, body=content, content_type=kind, headers=_HEADERS | {"Content-Range": where})

    async def _when_computed(self, level: ComputedLevel, block: BlockFuture) -> web.Response:
        """Send a block when it is computed; who is gone meanwhile wants it no more.

        When too many wait, who comes is asked to come again: the viewer does, after a second or a few.
        """
        if not block.done() and self._waiting >= _MOST_WAITING:
            block.cancel()
            return web.Response(status=503, headers=_HEADERS)
        self._waiting += 1
        waiting = asyncio.wrap_future(block)
        try:
            await asyncio.wait({waiting})
        finally:
            self._waiting -= 1
            waiting.cancel()
        if waiting.cancelled():  # nothing is computed any more
            return web.Response(status=503, headers=_HEADERS)
        content = await self._off_loop(level.encode, waiting.result())
        return web.Response(body=content, content_type="application/octet-stream", headers=_HEADERS)

    async def _off_loop(self, function: Callable[..., T], *arguments: Any) -> T:
        """Read in another thread; a browser that has gone takes what it waited for with it."""
        return await self._loop.run_in_executor(self._readers, function, *arguments)


def parse_range(header: str | None) -> Part | None:
    """Return first byte and last plus one of a ``Range``; None for the whole, also where several are asked for.

    >>> parse_range("bytes=0-99"), parse_range("bytes=-4"), parse_range("bytes=8-"), parse_range("lines=1-2")
    ((0, 100), (-4, None), (8, None), None)
    """
    found = _RANGE.fullmatch(header or "")
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        return (-int(last), None) if int(last) else (0, 0)
    return int(first), int(last) + 1 if last else None


def _find_client() -> Path:
    """Return where Neuroglancer keeps its client; importing it takes as long as all else until there is a link."""
    found = importlib.util.find_spec("neuroglancer")
    file = found.origin if found is not None else None
    return Path(file or import_extra("neuroglancer", "the viewer", "csc-data[view]").__file__).parent / "static/client"


def _listen(bind: str, port: int) -> socket.socket:
    listening: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        if os.name == "posix":  # elsewhere it lets two programs have one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except (OSError, OverflowError, UnicodeError) as error:
        if listening is not None:
            listening.close()
        raise InvalidArgumentError(f"the viewer cannot listen on {bind}, port {port}: {error}") from error
    return listening
