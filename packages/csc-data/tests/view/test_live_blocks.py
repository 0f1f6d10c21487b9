"""Blocks that are computed as somebody looks: which come first, what is kept, and who is held up by them: nobody."""

import json
import socket
import threading
import time

import numpy as np
import pytest

from csc_data.errors import UnreadableDataError
from csc_data.geometry import Grid
from csc_data.view import BlockWorker, Layer, LiveArray, array_layer, live_volume
from csc_data.volumes import open_volume


class Numbers:
    """Blocks of 4^3 voxels with their number in each, 100 more in the second channel; a gate holds them back."""

    block_shape, channels, dtype = (4, 4, 4), 2, np.dtype("u1")

    def __init__(self, shape=(10, 9, 8), open_gate=True):
        self.grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=shape)
        self.computed, self.gate, self.broken = [], threading.Event(), {}
        if open_gate:
            self.gate.set()

    def number(self, index):
        return int(np.ravel_multi_index(index, [-(-n // 4) for n in self.grid.shape]))

    def compute(self, index):
        self.computed.append(index)
        self.gate.wait(timeout=30)
        if index in self.broken:
            raise self.broken[index]
        shape = [min(4, n - 4 * i) for i, n in zip(index, self.grid.shape, strict=True)]
        return np.stack([np.full(shape, (self.number(index) + 100 * c) % 256, "u1") for c in range(2)])

    def whole(self):
        z, y, x = np.indices(self.grid.shape) // 4
        return [((z * 3 + y) * 2 + x + 100 * c) for c in range(2)]


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def told():
    return []


@pytest.fixture
def worker(told):
    with BlockWorker(told.append) as running:
        yield running


def test_it_is_an_array_like_any_other(worker):
    source = Numbers()
    for channel, expected in enumerate(source.whole()):
        array = LiveArray(worker, source, channel)
        for box in (np.s_[:, :, :], np.s_[3:9, 4:5, 7:8], np.s_[9:, 8:, :], np.s_[2:2, :, :], np.s_[-3:, 1:, 2:99]):
            np.testing.assert_array_equal(array[box], expected[box])
    assert len(source.computed) == len(set(source.computed)) == 18  # both channels of a block at once, and once


def test_what_was_asked_for_last_is_computed_first(worker):
    source = Numbers(open_gate=False)
    first = worker.ask(source, (0, 0, 0))
    until(lambda: source.computed)
    asked = [worker.ask(source, index) for index in [(1, 0, 0), (2, 0, 0), (0, 1, 0), (1, 0, 0)]]
    source.gate.set()
    for future in [first, *asked]:
        future.result(timeout=20)
    assert source.computed == [(0, 0, 0), (1, 0, 0), (0, 1, 0), (2, 0, 0)]


def test_what_nobody_waits_for_any_more_is_not_computed(worker):
    source = Numbers(open_gate=False)
    first = worker.ask(source, (0, 0, 0))
    until(lambda: source.computed)
    gone, shared, also = (worker.ask(source, index) for index in [(1, 0, 0), (2, 0, 0), (2, 0, 0)])
    gone.cancel()
    shared.cancel()
    source.gate.set()
    assert also.result(timeout=20)[0, 0, 0, 0] == source.number((2, 0, 0))
    first.result(timeout=20)
    assert (1, 0, 0) not in source.computed


def test_so_much_is_kept_and_no_more(told):
    source = Numbers(shape=(16, 4, 4))
    with BlockWorker(told.append, most_bytes=300) as worker:  # two blocks of 128 bytes
        for z in (0, 1, 0, 2, 0, 1):
            worker.ask(source, (z, 0, 0)).result(timeout=20)
    assert [z for z, _, _ in source.computed] == [0, 1, 2, 1]


def test_what_fails_is_empty_and_said_once_and_tried_again(worker, told):
    source = Numbers()
    source.broken = {(0, 0, 0): UnreadableDataError("chunk 7 is damaged"), (2, 2, 1): RuntimeError("out of memory")}
    for _ in range(2):
        assert not worker.ask(source, (0, 0, 0)).result(timeout=20).any()
        assert worker.ask(source, (2, 2, 1)).result(timeout=20).shape == (2, 2, 1, 4)
    assert told == ["a block stays empty: chunk 7 is damaged", "a block stays empty: RuntimeError: out of memory"]
    source.broken = {}
    assert worker.ask(source, (2, 2, 1)).result(timeout=20).any()


def test_errors_that_are_each_another_do_not_fill_the_terminal(worker, told):
    source = Numbers(shape=(200, 4, 4))
    source.broken = {(z, 0, 0): ValueError(z) for z in range(50)}
    for index in source.broken:
        worker.ask(source, index).result(timeout=20)
    assert len(told) < 20
    assert "not shown" in told[-1]


def test_at_its_end_nobody_waits(told):
    source = Numbers(open_gate=False)
    worker = BlockWorker(told.append)
    worker.ask(source, (0, 0, 0))
    until(lambda: source.computed)
    waiting = worker.ask(source, (1, 0, 0))
    source.gate.set()
    worker.close()
    assert waiting.cancelled()
    assert worker.ask(source, (2, 0, 0)).cancelled()
    assert (1, 0, 0) not in source.computed


@pytest.fixture
def live(view, worker, get):
    """Show both channels; returns what computes, and a function that asks for a chunk of one."""
    source = Numbers(shape=(40, 8, 300), open_gate=False)
    layers = [
        Layer(name=f"{c} (live)", kind="probability", volume=live_volume(worker, source, c, "x")) for c in range(2)
    ]
    stored = array_layer(np.ones((4, 4, 4), "u1"), "stored", "raw", voxel_size=(8, 8, 8))
    view.add([*layers, stored])
    return source, lambda channel, index: get(f"data/{channel}/0/{'.'.join(map(str, index))}")


def in_threads(function, arguments):
    found = {}
    threads = [threading.Thread(target=lambda a=a: found.update({a: function(*a)})) for a in arguments]
    for thread in threads:
        thread.start()
    return threads, found


def joined(threads):
    for thread in threads:
        thread.join(timeout=30)


def test_a_browser_gets_the_blocks_and_nothing_of_what_is_far_away(view, live, get):
    source, _ = live
    source.gate.set()
    state = json.loads(view.server.state_text("0", f"http://127.0.0.1:{view.server.port}"))
    volume = open_volume(state["layers"][1]["source"][0]["url"].partition("://")[2])
    fine, *coarse = volume.levels
    assert fine.grid == source.grid
    z, y, x = np.indices((9, 8, 20)) // 4
    np.testing.assert_array_equal(fine.array[:9, :, :20], ((z * 2 + y) * 75 + x + 100) % 256)
    before = len(source.computed)
    assert [level.grid.voxel_size for level in coarse] == [(32,) * 3, (128,) * 3]
    assert not any(level.array[...].any() for level in coarse)
    assert all(level.grid.bounds.contains(fine.grid.bounds) for level in coarse)
    assert get("data/1/0/0.0.0", method="HEAD")[0] == 404  # nor is anything computed to tell its size
    assert len(source.computed) == before


def test_nobody_else_waits_for_what_is_computed(live, get):
    """Nor do more requests wait than leave a browser lines for its other layers: they are to come again."""
    source, chunk = live
    threads, found = in_threads(chunk, [(0, (z, 0, 0)) for z in range(10)])
    until(lambda: len(found) == 6)
    assert {status for status, _, _ in found.values()} == {503}
    started = time.monotonic()
    for _ in range(20):
        assert get("data/2/0/0.0.0")[0] == 200
    assert time.monotonic() - started < 10
    source.gate.set()
    joined(threads)
    assert sorted(status for status, _, _ in found.values()) == [200] * 4 + [503] * 6
    assert [chunk(channel, (z, 0, 0))[0] for z in range(10) for channel in range(2)] == [200] * 20


def test_a_browser_that_is_gone_is_not_computed_for(view, live, worker, monkeypatch):
    source, chunk = live
    ask, asked = worker.ask, {}
    monkeypatch.setattr(worker, "ask", lambda source, index: asked.setdefault(index, ask(source, index)))
    threads, _ = in_threads(chunk, [(0, (0, 0, 0))])
    until(lambda: source.computed)
    with socket.create_connection(("127.0.0.1", view.server.port), timeout=20) as line:
        line.sendall(f"GET /{view.server.secret}/data/0/0/5.0.0 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        until(lambda: (5, 0, 0) in asked)
    until(lambda: asked[5, 0, 0].cancelled())
    source.gate.set()
    joined(threads)
    assert chunk(1, (1, 0, 0))[0] == 200
    assert (5, 0, 0) not in source.computed


def test_a_block_that_fails_is_drawn_empty_and_the_server_lives(live, told):
    source, chunk = live
    source.broken = {(0, 0, 0): RuntimeError("no")}
    source.gate.set()
    assert chunk(0, (0, 0, 0))[0] == 200
    assert told == ["a block stays empty: RuntimeError: no"]
    assert chunk(0, (1, 0, 0))[0] == 200


def test_when_the_worker_has_ended_the_server_says_so(live, worker):
    _, chunk = live
    worker.close()
    assert chunk(0, (0, 0, 0))[0] == 503
