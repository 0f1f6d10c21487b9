"""A read-only S3 server on loopback, with latency and faults; run as a script by the fixture `s3_server`.

    python s3_server.py ROOT [--latency 0.03] [--errors 0.02] [--cuts 0.01] ...

Every folder below ROOT is a bucket. It speaks GET and HEAD of objects (with Range, If-Match, If-None-Match; the ETag is
the MD5 as in S3) and both forms of ListObjects (prefix, delimiter, start-after, max-keys, continuation), and asks for
no credentials. The kernel chooses the port; the first line on stdout is the address. It ends when its stdin closes, so
that a killed test leaves no server behind.

Whether a request fails depends on the seed, on what is asked for and on how often that was asked before, not on the
order in which requests arrive: a run under load meets the same faults.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import formatdate
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote
from xml.sax.saxutils import escape

from aiohttp import web

XML = '<?xml version="1.0" encoding="UTF-8"?>'
NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
MOST_KEYS = 1000


class Bucket:
    """Keys of a folder in the order of S3, found by walking only what is asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._etags: dict[str, tuple[int, int, str]] = {}

    def list(self, prefix: str, delimiter: str, after: str) -> Iterator[tuple[str, bool]]:
        """Yield (key, False) or (common prefix, True) beyond `after`."""
        return self._walk("", prefix, delimiter, after)

    def _walk(self, base: str, prefix: str, delimiter: str, after: str) -> Iterator[tuple[str, bool]]:
        try:
            entries = [(entry.name + ("/" if entry.is_dir() else "")) for entry in os.scandir(self.folder / base)]
        except FileNotFoundError:
            return
        for name in sorted(entries):
            key = base + name
            if not (key.startswith(prefix) or prefix.startswith(key)):
                continue
            if key <= after and not after.startswith(key):
                continue
            if not name.endswith("/"):
                if key > after and key.startswith(prefix):
                    yield key, False
            elif delimiter == "/" and len(key) > len(prefix) and key.startswith(prefix):
                if key > after:
                    yield key, True
            else:
                yield from self._walk(key, prefix, delimiter, after)

    def etag(self, key: str) -> str:
        """Return the quoted MD5 of an object."""
        path = self.folder / key
        state = path.stat()
        known = self._etags.get(key)
        if known is None or known[:2] != (state.st_mtime_ns, state.st_size):
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            known = self._etags[key] = (state.st_mtime_ns, state.st_size, f'"{digest}"')
        return known[2]


class Server:
    """Answers requests and counts what happened."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        root = Path(options.root).resolve()
        self.buckets = {place.name: Bucket(place) for place in root.iterdir() if place.is_dir()}
        self.stats: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        self.under_way = 0

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request, and count how many are under way."""
        self.under_way += 1
        self.stats["most_at_once"] = max(self.stats["most_at_once"], self.under_way)
        try:
            return await self._answer(request)
        finally:
            self.under_way -= 1

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        if request.path == "/-/stats":
            return web.json_response(dict(self.stats))
        name, _, key = request.path.removeprefix("/").partition("/")
        bucket = self.buckets.get(name)
        if bucket is None:
            return _error("NoSuchBucket", 404)
        self.stats["requests"] += 1
        what = f"{request.method} {key or request.query_string}"
        self.asked[what] += 1
        fault = self._fault(what, listing=not key)
        if fault == "slow":
            self.stats["slow"] += 1
            await asyncio.sleep(self.options.slow_seconds)
        elif self.options.latency:
            await asyncio.sleep(self.options.latency)
        if fault == "error":
            self.stats["errors"] += 1
            return _error("SlowDown", 503) if self.asked[what] % 2 else _error("InternalError", 500)
        if not key:
            self.stats["list"] += 1
            return _listing(name, bucket, request.query)
        return await self._object(request, bucket, key, fault, what)

    def _fault(self, what: str, *, listing: bool) -> str:
        """Decide what goes wrong with this request, if anything."""
        options = self.options
        if self.asked[what] <= options.fail_first:
            return "error"
        draw = random.Random(f"{options.seed} {what} {self.asked[what]}").random()
        for fault, share in (("error", options.errors), ("slow", options.slow), ("cut", options.cuts)):
            if draw < share:
                return "" if fault == "cut" and listing else fault
            draw -= share
        return "flip" if draw < options.flips else ""

    def _flipped(self, body: bytes, what: str) -> bytes:
        """Return the body with one wrong bit, each time another."""
        place = random.Random(f"flip {self.options.seed} {what} {self.asked[what]}").randrange(8 * len(body))
        wrong = bytearray(body)
        wrong[place // 8] ^= 1 << place % 8
        return bytes(wrong)

    async def _object(
        self, request: web.BaseRequest, bucket: Bucket, key: str, fault: str, what: str
    ) -> web.StreamResponse:
        path = bucket.folder / key
        hidden = any(fnmatchcase(key, pattern) for pattern in self.options.missing)
        if hidden or ".." in key.split("/") or not path.is_file():
            self.stats["missing"] += 1
            return _error("NoSuchKey", 404)
        if any(fnmatchcase(key, pattern) for pattern in self.options.broken):
            self.stats["errors"] += 1
            return _error("InternalError", 500)
        if any(fnmatchcase(key, pattern) for pattern in self.options.denied):
            self.stats["denied"] += 1
            return _error("AccessDenied", 403)
        body, etag = path.read_bytes(), bucket.etag(key)
        headers = {"ETag": etag, "Last-Modified": formatdate(path.stat().st_mtime, usegmt=True)}
        headers["Accept-Ranges"] = "bytes"
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers=headers)
        if request.headers.get("If-Match", etag) != etag:
            return _error("PreconditionFailed", 412)
        if request.method == "HEAD":
            self.stats["head"] += 1
            headers["Content-Length"] = str(len(body))
            return web.Response(headers=headers, content_type="application/octet-stream")
        self.stats["get"] += 1
        status = 200
        if "Range" in request.headers:
            span = _range(request.headers["Range"], len(body))
            if span is None:
                return _error("InvalidRange", 416)
            first, end = span
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(body)}"
            body, status = body[first:end], 206
        if fault == "flip" and body:
            self.stats["flips"] += 1
            body = self._flipped(body, what)
        stall = bool(self.options.stall_after) and self.stats["get"] > self.options.stall_after
        if stall or (fault == "cut" and len(body) > 1):
            return await self._half(request, body, status, headers, stall=stall)
        self.stats["bytes"] += len(body)
        return web.Response(status=status, body=body, headers=headers, content_type="application/octet-stream")

    async def _half(
        self, request: web.BaseRequest, body: bytes, status: int, headers: dict[str, str], *, stall: bool
    ) -> web.StreamResponse:
        """Send half of a body, then cut the connection; to stall, wait until the client goes."""
        answer = web.StreamResponse(status=status, headers={**headers, "Content-Length": str(len(body))})
        with contextlib.suppress(ConnectionResetError):  # the client may be gone already
            await answer.prepare(request)
            await answer.write(body[: len(body) // 2])
        self.stats["stalled" if stall else "cuts"] += 1
        while stall and request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(0.05)
        if request.transport is not None:
            request.transport.abort()
        return answer


def _error(code: str, status: int) -> web.Response:
    text = f"{XML}<Error><Code>{code}</Code><Message>{code}</Message></Error>"
    return web.Response(status=status, text=text, content_type="application/xml")


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Return first and end of `bytes=first-last`, `bytes=first-` or `bytes=-count`."""
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return (max(0, size - int(last)), size) if int(last) and size else None
    begin, end = int(first), min(int(last) + 1 if last else size, size)
    return (begin, end) if begin < size and begin < end else None


def _listing(name: str, bucket: Bucket, query: object) -> web.Response:
    ask = dict(query)  # type: ignore[call-overload]
    prefix, delimiter = ask.get("prefix", ""), ask.get("delimiter", "")
    token = ask.get("continuation-token")
    after = base64.urlsafe_b64decode(token).decode() if token else ask.get("start-after") or ask.get("marker") or ""
    most = min(int(ask.get("max-keys", MOST_KEYS)), MOST_KEYS)
    write = (lambda key: quote(key, safe="/")) if ask.get("encoding-type") == "url" else escape
    page: list[tuple[str, bool]] = []
    more = False
    for item in bucket.list(prefix, delimiter, after):
        if len(page) == most:
            more = True
            break
        page.append(item)
    parts = [f"<Name>{name}</Name><Prefix>{write(prefix)}</Prefix><KeyCount>{len(page)}</KeyCount>"]
    parts.append(f"<MaxKeys>{most}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>")
    if ask.get("encoding-type") == "url":
        parts.append("<EncodingType>url</EncodingType>")
    if more:
        last = page[-1][0]
        token = base64.urlsafe_b64encode(last.encode()).decode()
        parts.append(f"<NextContinuationToken>{token}</NextContinuationToken><NextMarker>{write(last)}</NextMarker>")
    for key, folder in page:
        if folder:
            parts.append(f"<CommonPrefixes><Prefix>{write(key)}</Prefix></CommonPrefixes>")
            continue
        state = (bucket.folder / key).stat()
        changed = datetime.fromtimestamp(int(state.st_mtime), tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        parts.append(
            f"<Contents><Key>{write(key)}</Key><LastModified>{changed}</LastModified><ETag>{escape(bucket.etag(key))}"
            f"</ETag><Size>{state.st_size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )
    text = f'{XML}<ListBucketResult xmlns="{NAMESPACE}">{"".join(parts)}</ListBucketResult>'
    return web.Response(text=text, content_type="application/xml")


async def serve(options: argparse.Namespace) -> None:
    """Serve until stdin closes."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_end() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait_for_end, daemon=True).start()
    runner = web.ServerRunner(web.Server(Server(options).handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1, backlog=1024)
    await site.start()
    port = runner.addresses[0][1]
    print(json.dumps({"endpoint": f"http://127.0.0.1:{port}"}), flush=True)
    await ended.wait()
    await runner.cleanup()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="folder whose folders are the buckets")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--errors", type=float, default=0.0, help="share of requests answered with 503 or 500")
    parser.add_argument("--cuts", type=float, default=0.0, help="share of objects cut off half way")
    parser.add_argument("--slow", type=float, default=0.0, help="share of requests answered after --slow-seconds")
    parser.add_argument("--slow-seconds", type=float, default=2.0)
    parser.add_argument("--flips", type=float, default=0.0, help="share of objects with a wrong bit")
    parser.add_argument("--fail-first", type=int, default=0, help="errors before the first good answer to a request")
    parser.add_argument("--stall-after", type=int, default=0, help="objects after which bodies stop half way, unended")
    parser.add_argument("--missing", action="append", default=[], metavar="GLOB", help="keys answered with 404")
    parser.add_argument("--denied", action="append", default=[], metavar="GLOB", help="keys answered with 403")
    parser.add_argument("--broken", action="append", default=[], metavar="GLOB", help="keys answered with 500, always")
    parser.add_argument("--seed", type=int, default=0)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
