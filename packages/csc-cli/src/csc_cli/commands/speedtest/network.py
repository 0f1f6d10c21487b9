"""How fast files of the challenge's bucket come."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from csc_cli.commands.speedtest.limits import Limits, Speed
from csc_cli.stages.waiting import within
from csc_data.errors import CscError, MissingDataError
from csc_data.wording import format_bytes

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_data.storage.bucket import Bucket, RemoteFile

REQUESTS = 16


def measure_network(limits: Limits, config: Config) -> Speed:
    """Read files of raw, several at a time, until there were enough bytes or seconds; nothing is kept."""
    from csc_data.storage.bucket import Bucket
    from csc_data.storage.remote import Retries

    stop = threading.Event()
    where = f"s3://{config.bucket}" + (f" at {config.endpoint}" if config.endpoint else "")
    try:
        bucket = Bucket(config.bucket, endpoint=config.endpoint, retries=Retries(attempts=1), stop=stop)
        keys = within(limits.seconds, lambda: _keys(bucket, config, limits))
        read, seconds = _read(bucket, keys, limits.seconds / 2)
    except (CscError, TimeoutError) as error:
        said = f"{where} is not reachable: {error}"
        return Speed(part="network", measured=False, said=said, details={"bucket": config.bucket})
    finally:
        stop.set()
    rate = read / seconds
    said = f"{format_bytes(int(rate))}/s from {where}, {REQUESTS} requests at a time"
    details = {"bucket": config.bucket, "bytes": read, "bytes_per_second": rate, "requests": REQUESTS}
    return Speed(part="network", said=said, details=details)


def _keys(bucket: Bucket, config: Config, limits: Limits) -> list[str]:
    """Return files to read, as many as the bytes, or half of the time, allow."""
    began = time.perf_counter()
    keys = []
    size = 0
    for key, file in _files(bucket, config):
        keys.append(key)
        size += file.size
        if size >= limits.bytes or time.perf_counter() - began > limits.seconds / 2:
            break
    if not keys:
        raise MissingDataError(f"{bucket.url()} holds no raw of the challenge")
    return keys


def _read(bucket: Bucket, keys: Sequence[str], seconds: float) -> tuple[int, float]:
    """Return how many bytes came in how many seconds."""
    left: SimpleQueue[str] = SimpleQueue()
    for key in keys:
        left.put(key)
    sizes: list[int] = []
    errors: list[CscError] = []

    def work() -> None:
        while not left.empty():
            with suppress(Empty):
                key = left.get_nowait()
                try:
                    sizes.append(len(bucket.read(key)))
                except CscError as error:
                    errors.append(error)
                    return

    # Daemons, so that a request which hangs keeps nobody waiting.
    threads = [threading.Thread(target=work, daemon=True) for _ in range(REQUESTS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, began + seconds - time.perf_counter()))
    read, took = sum(sizes), time.perf_counter() - began
    if not read:
        raise errors[0] if errors else TimeoutError(f"nothing came within {seconds:g} s")
    return read, took


def _files(bucket: Bucket, config: Config) -> Iterator[tuple[str, RemoteFile]]:
    """Yield files of raw and their keys, the coarsest levels first, whose listings are short."""
    from csc_data.challenge.annotated_crops import split_url
    from csc_data.challenge.current_lists import load_crop_places

    places, _ = load_crop_places(config)
    for raw in dict.fromkeys(split_url(place.raw)[1] for place in places.values()):
        levels, _ = bucket.children(raw)
        for level in sorted(levels, reverse=True):
            for file in bucket.files_below(f"{raw}/{level}"):
                yield f"{raw}/{level}/{file.name}", file
