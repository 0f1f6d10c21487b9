"""Clients that are slow, broken or many hold nobody up."""

import socket
import threading
import time
from contextlib import ExitStack, contextmanager, suppress

import numpy as np
import pytest

from csc_data.geometry import Grid
from csc_data.view import open_layer
from csc_data.view.serving.connections import MOST_WAITING
from csc_data.volumes import write_multiscale


@pytest.fixture
def shown(tmp_path, view):
    """A volume whose chunks are larger than what a system takes for somebody who does not read."""
    grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(256, 256, 256))
    noise = np.random.default_rng(0).integers(0, 256, grid.shape, dtype="u1")
    write_multiscale(tmp_path / "a", [noise], [grid], chunks=(256, 256, 256))
    view.add([open_layer(tmp_path / "a", "a", "mask")])
    return view


@contextmanager
def lines(view, count, text=b""):
    """Connect a number of times, and send something on each."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", view.server.port), timeout=20))
            line.sendall(text)
            found.append(line)
        yield found


def is_quick(get):
    """Tell whether somebody else is served within a time in which nobody gives up."""
    started = time.monotonic()
    return get("data/0/.zattrs")[0] == 200 and time.monotonic() - started < 5


def begin(view, target, method="GET"):
    return f"{method} /{view.server.secret}/{target} HTTP/1.1\r\nHost: x\r\n".encode()


def test_headers_a_byte_at_a_time(shown, get):
    ended = threading.Event()

    def trickle(some):
        while not ended.wait(0.01):
            for line in some:
                line.send(b"a")

    with lines(shown, 30, b"GET / HTTP/1.1\r\nX-Slow: ") as some:
        thread = threading.Thread(target=trickle, args=(some,))
        thread.start()
        try:
            assert all(is_quick(get) for _ in range(5))
        finally:
            ended.set()
            thread.join()


@pytest.mark.parametrize("secret", [True, False], ids=["with the secret", "without"])
def test_bodies_that_are_never_sent(shown, get, secret):
    text = begin(shown, "", "POST") if secret else b"POST / HTTP/1.1\r\nHost: x\r\n"
    with lines(shown, 30, text + b"Content-Length: 1000000000\r\n\r\n"):
        assert is_quick(get)


def test_chunks_that_are_asked_for_and_never_read(shown, get):
    with lines(shown, 30, begin(shown, "data/0/0/0.0.0") + b"\r\n"):
        assert is_quick(get)


def test_more_connections_than_are_kept(shown, get):
    """Those that wait longest are cut; whoever asks for something is served."""
    with lines(shown, MOST_WAITING + 60) as some:
        some[0].settimeout(0.2)
        for _ in range(50):  # those who come at once are counted when the next one comes
            assert is_quick(get)
            with suppress(TimeoutError):
                assert some[0].recv(1) == b""
                break
        else:
            pytest.fail("the line that waits longest is still open")
        some[-1].settimeout(0.05)
        with pytest.raises(TimeoutError):
            some[-1].recv(1)


def test_a_view_stays_connected_while_others_come(shown):
    """Its line for events is one on which the server answers, however long it says nothing."""
    with lines(shown, 1, begin(shown, "events/view") + b"\r\n") as (events,), lines(shown, MOST_WAITING + 20):
        assert events.recv(4096).startswith(b"HTTP/1.1 200")
        events.settimeout(0.1)
        with pytest.raises(TimeoutError):
            events.recv(4096)


def test_somebody_goes_in_the_middle_of_an_answer(shown, get):
    for _ in range(20):
        with lines(shown, 1, begin(shown, "data/0/0/0.0.0") + b"\r\n") as (line,):
            line.recv(100)
    assert is_quick(get)


def test_it_ends_although_somebody_waits(shown):
    with lines(shown, 20, begin(shown, "events/view") + b"\r\n"), lines(shown, 20):
        started = time.monotonic()
        shown.close()
        assert time.monotonic() - started < 5


def test_nonsense_is_not_told_on_the_terminal(shown, get, caplog):
    with lines(shown, 1, b"GET nonsense HTTP/1.1\r\n\r\n") as (line,):
        assert line.recv(100).startswith(b"HTTP/1.")
    assert get("data/0/.zattrs")[0] == 200
    assert not caplog.records
