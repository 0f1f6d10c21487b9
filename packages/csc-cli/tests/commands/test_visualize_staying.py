"""How `csc visualize` begins and ends: nothing is left behind, and nobody learns its secret from the process list."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path

import numpy as np
import pytest

from csc_cli.commands.visualize.staying import browser_at, ended_properly, until_the_end
from csc_data.config.user_config import Config
from csc_data.geometry import Grid
from csc_data.view import View
from csc_data.volumes import write_multiscale

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")


@pytest.fixture
def raw(tmp_path):
    """A data folder with a raw volume and nothing else."""
    path = Config(data=str(tmp_path / "data")).path("raw", dataset="a")
    grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(8, 8, 8))
    write_multiscale(path, [np.ones((8, 8, 8), "u1")], [grid], chunks=(8, 8, 8))
    return tmp_path / "data"


def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def command_lines():
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes()
        except OSError:  # it has ended
            continue


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="the process list is read from /proc")
def test_without_a_terminal_it_leads_a_browser_to_the_page_and_leaves_nothing(raw, tmp_path):
    scratch, told = tmp_path / "scratch", tmp_path / "told"
    scratch.mkdir()
    browser = tmp_path / "browser"  # reads what it is given, and stays
    browser.write_text(f'#!/bin/sh\ncat "${{1#file://}}" > {told}.part && mv {told}.part {told}\nsleep 2\n')
    browser.chmod(0o755)
    arguments = [sys.executable, "-m", "csc_cli", "visualize", "--data", str(raw), "--volume", "a"]
    environment = {**os.environ, "TMPDIR": str(scratch), "BROWSER": str(browser), "PYTHONUNBUFFERED": "1"}
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, start_new_session=True
        )
    try:
        until(told.exists)
        (link,) = [line for line in (tmp_path / "out").read_text().splitlines() if line.startswith("http")]
        assert link in told.read_text()
        secret = link.rstrip("/").rpartition("/")[2].encode()
        assert not [line for line in command_lines() if secret in line]
        (page,) = scratch.glob("*/*")
        assert page.parent.stat().st_mode & 0o077 == 0
        with urllib.request.urlopen(link, timeout=30) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
    assert list(scratch.iterdir()) == []
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(link, timeout=5)


def test_where_there_is_no_browser_none_is_opened(monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    with browser_at("http://x/"):
        pass
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    with browser_at("http://x/"):
        until(lambda: opened)
    assert opened[0].startswith("file://")
    assert not Path(opened[0].removeprefix("file://")).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_the_link_ends_it_and_tidies_up(number):
    def interrupted():
        with view, ended_properly():
            os.kill(os.getpid(), number)
            time.sleep(5)

    view = View()
    with pytest.raises(SystemExit) as ended:
        interrupted()
    assert ended.value.code == 128 + number
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(view.url, timeout=5)


def test_what_is_ignored_by_nohup_is_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_properly(), until_the_end() as wait:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)  # comes before it waits, and is not lost
            wait()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_cannot_be_listened_on_is_one_line(raw, run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for more in (["--port", port], ["--bind", "192.0.2.1"], ["--bind", "no.such.host.invalid"]):
            result = run("visualize", "--data", str(raw), "--volume", "a", "--no-browser", *more)
            assert result.exit_code == 1
            (line,) = result.output.splitlines()
            assert line.startswith("Error: the viewer cannot listen on ")
            assert more[1] in line
