"""A bucket on loopback, for commands that fetch or show what lies in one."""

from __future__ import annotations

import base64
import hashlib
import http.server
import threading
import zipfile
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import numpy as np
import pytest

from csc_data.geometry import Grid
from csc_data.volumes import downsampled_grid, write_multiscale

BUCKET = "janelia-cosem-datasets"
ZARR = "jrc_x/jrc_x.zarr/recon-1"


class _Bucket(http.server.BaseHTTPRequestHandler):
    """As much of S3 as a client without credentials needs to list and read."""

    protocol_version = "HTTP/1.1"
    root: Path
    broken: tuple[str, ...] = ()

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = urlsplit(self.path)
        key = unquote(parts.path).removeprefix(f"/{BUCKET}").removeprefix("/")
        if not unquote(parts.path).startswith(f"/{BUCKET}"):
            self.answer(404, b"<Error><Code>NoSuchBucket</Code></Error>")
        elif not key:
            self.answer(200, self.listing({name: values[0] for name, values in parse_qs(parts.query).items()}))
        elif key in self.broken:
            self.answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif (self.root / key).is_file():
            self.send((self.root / key).read_bytes())
        else:
            self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def send(self, body):
        span = self.headers.get("Range")
        tag = f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'
        headers = {"ETag": tag, "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
        if span:
            first, last = span.removeprefix("bytes=").split("-")
            headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
            body = body[int(first) : int(last) + 1]
        self.answer(206 if span else 200, body, headers)

    def answer(self, status, body, headers=None):
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def tag(self, key):
        return hashlib.md5((self.root / key).read_bytes(), usedforsecurity=False).hexdigest()

    def listing(self, query):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        after = query.get("start-after", "")
        if "continuation-token" in query:
            after = base64.b64decode(query["continuation-token"]).decode()
        keys = sorted(path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())
        found = {}
        for key in keys:
            if key.startswith(prefix):
                cut = key.find(delimiter, len(prefix)) if delimiter else -1
                found[key if cut < 0 else key[: cut + 1]] = cut >= 0
        items = [(name, folder) for name, folder in sorted(found.items()) if name > after]
        page, more = items[:1000], len(items) > 1000
        body = "".join(
            f"<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"
            if folder
            else f"<Contents><Key>{name}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>&quot;{self.tag(name)}&quot;</ETag>"
            f"<Size>{(self.root / name).stat().st_size}</Size></Contents>"
            for name, folder in page
        )
        token = base64.b64encode(page[-1][0].encode()).decode() if more else ""
        next_page = f"<NextContinuationToken>{quote(token)}</NextContinuationToken>" if more else ""
        return (
            f'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{BUCKET}</Name><IsTruncated>{str(more).lower()}</IsTruncated>{next_page}{body}</ListBucketResult>"
        ).encode()


@pytest.fixture(scope="session")
def bucket_folder(tmp_path_factory):
    """One annotated crop in the raw of one data set, and the archive of everything."""
    root = tmp_path_factory.mktemp("bucket")
    values = np.random.default_rng(0)
    grids = [Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(24, 24, 24))]
    grids.append(downsampled_grid(grids[0], (2, 2, 2)))
    raw = [values.integers(0, 256, grid.shape, dtype=np.uint8) for grid in grids]
    write_multiscale(root / ZARR / "em" / "fibsem-uint8", raw, grids, chunks=(8, 8, 8))
    crop = grids[0].window((8, 8, 8), (8, 8, 8))
    for name in ("mito", "er"):
        labels = values.integers(1, 3, crop.shape, dtype=np.uint8)
        write_multiscale(root / ZARR / "labels" / "groundtruth" / "crop1" / name, [labels], [crop], chunks=(8, 8, 8))
    files = [path for path in root.rglob("*") if path.is_file()]
    archive = root / "csc-zipped-data" / "matched_res_no_pad.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as opened:
        for path in files:
            opened.write(path, f"data_matched_res_no_pad/{path.relative_to(root).as_posix()}")
    return root


@pytest.fixture
def served(bucket_folder, monkeypatch):
    """The address of the bucket, and its handler."""
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    handler = type("Handler", (_Bucket,), {"root": bucket_folder})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", handler
        server.shutdown()
        thread.join(timeout=60)
