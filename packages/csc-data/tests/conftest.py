import importlib.util
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

os.environ.pop("COLUMNS", None)  # readline tells it to the processes that tests run in, and tables would be folded

# The loader is the extra csc-data[torch]; without it, its tests have nothing to run on.
collect_ignore_glob = [] if importlib.util.find_spec("torch") else ["loader/*"]


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's configuration and refreshed manifests out of the tests, and proxies away from loopback."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name)))
        for name in ("NO_PROXY", "no_proxy"):
            patch.setenv(name, "127.0.0.1,localhost")
        yield


class RunningServer:
    """An S3 server in a process of its own; the folders of `root` are its buckets. See s3_server.py for the options.

    Use it as a context, or call `stop`.
    """

    def __init__(self, root: Path, **options: Any) -> None:
        arguments = []
        for name, value in options.items():
            for one in value if isinstance(value, list | tuple) else [value]:
                arguments += [f"--{name.replace('_', '-')}", str(one)]
        script = Path(__file__).with_name("s3_server.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(root), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.stop()
            raise RuntimeError("the S3 server did not start, see stderr")
        self.endpoint: str = json.loads(line)["endpoint"]

    def stats(self) -> dict[str, int]:
        """Counts of requests (get, head, list), faults and bytes since the start."""
        # Not through a proxy that the environment may name.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.endpoint}/-/stats", timeout=60) as answer:
            counts: dict[str, int] = json.load(answer)
        return {
            name: counts.get(name, 0)
            for name in (*counts, "requests", "get", "head", "list", "errors", "cuts", "stalled")
        }

    def stop(self) -> None:
        """End the process and close its pipes."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()

    def __enter__(self) -> "RunningServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


@pytest.fixture(scope="session")
def s3_server_class() -> type[RunningServer]:
    """For fixtures that live longer than a test."""
    return RunningServer


@pytest.fixture
def s3_server() -> Iterator[Any]:
    """A factory of S3 servers: ``s3_server(root, latency=0.03, errors=0.02).endpoint``; they stop with the test."""
    with ExitStack() as stack:
        yield lambda root, **options: stack.enter_context(RunningServer(Path(root), **options))


@pytest.fixture
def fresh_cache() -> Iterator[Any]:
    """The cache of chunks of this process, empty, and as large as before when the test is over."""
    from csc_data.formats.cache import shared_cache

    cache = shared_cache()
    before = cache.max_bytes
    cache.clear()
    yield cache
    cache.resize(before)
    cache.clear()


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run code in a Python process that knows no configuration of the user; keywords are environment variables."""
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "FSSPEC_CONFIG_DIR": str(tmp_path)}

    def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **home, **variables}
        return subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=900, check=False
        )

    return run
