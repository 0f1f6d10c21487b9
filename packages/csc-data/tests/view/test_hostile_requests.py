"""Nobody gets a byte without the secret, nobody gets one outside of what is shown, and nothing takes it down."""

import json
import random
import socket
import threading
import urllib.parse

import numcodecs
import numpy as np
import pytest

from csc_data.geometry import Grid
from csc_data.view import open_layer
from csc_data.volumes import write_multiscale

SECRET_BYTES = b"the diary of somebody else"


@pytest.fixture
def shown(tmp_path, view):
    """A volume that is shown, beside one file that is not, and a link in it that leads there."""
    grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(8, 8, 8))
    write_multiscale(tmp_path / "a", [np.ones((8, 8, 8), "u1")], [grid], chunks=(4, 4, 4))
    (tmp_path / "diary.txt").write_bytes(SECRET_BYTES)
    (tmp_path / "a/s0/1/1/1").unlink()
    (tmp_path / "a/s0/1/1/1").symlink_to(tmp_path / "diary.txt")
    view.add([open_layer(tmp_path / "a", "a", "mask")])
    return view


def raw_request(port, text, *, whole=True):
    """Send bytes as they are, and return what comes back until the server closes the line."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(text)
        if not whole:
            line.shutdown(socket.SHUT_WR)
        answer = b""
        while more := line.recv(65536):
            answer += more
    return answer


def ask(view, target, extra=""):
    request = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{view.server.port}\r\n{extra}Connection: close\r\n\r\n"
    return raw_request(view.server.port, request.encode("latin-1", "replace"))


def status(answer):
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0


def targets(secret, root):
    """Give a thousand requests for what is not shown."""
    drawn = random.Random(0)
    outside = [
        "../diary.txt", "../../diary.txt", "..%2f..%2fdiary.txt", "%2e%2e/%2e%2e/diary.txt", "..\\diary.txt",
        "..%5cdiary.txt", "%2e%2e%2f%2e%2e%2fdiary.txt", "%252e%252e/diary.txt", "....//diary.txt", "0/../../diary.txt",
        f"{root}/diary.txt", f"//{root}/diary.txt", "0/..%00/diary.txt", "diary.txt%00.zarray", "0/1.1.1", "0/", "",
        "0/.zattrs/..", "0/-1.0.0", "0/1e9.0.0", "0/99999999999.0.0", "0/0.0", "0/0.0.0.0", "s0/.zarray", "s0/0/0/0",
        "/etc/passwd", "file:///etc/passwd", "0/2.0.0", "0/\u0660.0.0",
    ]  # fmt: skip
    heads = ["data/0/", "data/", "data/00000000/", "data/7/", "v/view/", "v/../data/", "state/", "events/../", ""]
    heads = [f"/{secret}/{head}" for head in heads]
    heads += ["/", "//", "/data/0/", f"/{secret[:-1]}/data/0/", f"/{secret}x/data/0/"]
    for _ in range(1000):
        target = drawn.choice(heads) + drawn.choice(outside)
        if drawn.random() < 0.2:
            target = urllib.parse.quote(target, safe="/%")
        yield target


@pytest.mark.slow
def test_a_thousand_requests_for_what_is_not_shown_get_none_of_it(shown, tmp_path, get):
    drawn = random.Random(1)
    for target in targets(shown.server.secret, tmp_path.as_posix()):
        headers = [f"Range: bytes={drawn.choice(['0-5', '-9', '999-', '5-1', 'x', '0-99999999999999999999'])}"]
        headers += drawn.choice([[], ["Origin: http://evil.example"], ["Sec-Fetch-Site: cross-site"]])
        answer = ask(shown, target, "".join(f"{header}\r\n" for header in headers))
        assert SECRET_BYTES[:5] not in answer, target
        assert b"root:" not in answer, target
        assert status(answer) in (200, 206, 400, 403, 404, 416), (target, answer[:80])
        assert b"evil" not in answer
        assert b"\r\naccess-control" not in answer.lower()
        if b'"zarr_format"' not in answer and b"<!doctype html" not in answer:
            assert status(answer) != 200, (target, answer[:200])
    assert get("data/0/0/0.0.0")[0] == 200


def test_a_link_that_leads_out_of_the_volume_is_not_followed(shown, get):
    assert get("data/0/0/1.1.1")[0] == 404
    assert get("data/0/0/1.1.0")[0] == 200


def write_filled(path, value, dtype="u1"):
    """Write a volume of one chunk that is stored uncompressed, so that any file of its size would do."""
    grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(4, 4, 4))
    write_multiscale(path, [np.full(grid.shape, value, dtype)], [grid], chunks=grid.shape)
    document = json.loads((path / "s0/.zarray").read_text())
    (path / "s0/.zarray").write_text(json.dumps({**document, "compressor": None}))
    (path / "s0/0/0/0").write_bytes(np.full(grid.shape, value, dtype).tobytes())
    return path


@pytest.mark.parametrize("dtype", ["u1", "f2"], ids=["as stored", "converted"])
def test_the_folder_itself_may_be_a_link(tmp_path, view, get, dtype):
    write_filled(tmp_path / "big/disk", 7, dtype)
    (tmp_path / "data").symlink_to(tmp_path / "big")
    view.add([open_layer(tmp_path / "data/disk", "a", "mask")])
    assert get("data/0/0/0.0.0")[0] == 200


@pytest.mark.parametrize("dtype", ["u1", "f2"], ids=["as stored", "converted"])
@pytest.mark.parametrize("link", ["s0", "s0/0", "s0/0/0/0"])
def test_no_link_leads_out_whether_chunks_are_converted_or_not(tmp_path, view, get, link, dtype):
    private = write_filled(tmp_path / "private", 7, dtype)
    shown = write_filled(tmp_path / "shown", 1, dtype)
    (shown / link).rename(tmp_path / "moved")
    (shown / link).symlink_to(private / link)
    layer = open_layer(shown, "a", "raw")
    view.add([layer])
    _, _, body = get("data/0/0/0.0.0")
    assert np.full(4, 7, dtype).tobytes() not in body
    assert not np.asarray(layer.volume.levels[0].array[...]).any()
    if dtype == "f2":
        assert not numcodecs.blosc.Blosc().decode(body).strip(b"\0")


def test_a_link_within_the_volume_is_followed(tmp_path, view, get):
    shown = write_filled(tmp_path / "shown", 1)
    (shown / "s0/0/0/0").rename(shown / "elsewhere")
    (shown / "s0/0/0/0").symlink_to(shown / "elsewhere")
    view.add([open_layer(shown, "a", "mask")])
    assert get("data/0/0/0.0.0")[2] == b"\1" * 64


def test_a_wrong_secret_sees_nothing(shown):
    for target in ("/", "/x/", f"/{'A' * 32}/", f"/{'A' * 32}/data/0/.zattrs", f"/{shown.server.secret}é/"):
        assert status(ask(shown, target)) in (400, 404), target


def test_scripts_of_another_page_get_nothing(shown, get):
    assert get("data/0/.zattrs", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors")[0] == 403
    assert get("data/0/.zattrs", Sec_Fetch_Site="same-site", Sec_Fetch_Mode="no-cors")[0] == 403
    assert get("", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")[0] == 200
    _, headers, _ = get("data/0/.zattrs", Origin="http://evil.example")
    assert not [name for name in headers if name.lower().startswith("access-control")]


def test_a_name_that_leads_here_is_no_way_in(shown):
    """DNS rebinding: a page whose own name is made to mean this machine has this server for its origin."""
    host = f"evil.example:{shown.server.port}"
    for target in ("/", "/data/0/0/0.0.0", "/state/0", "/v/view/", "/events/view"):
        request = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: close\r\n\r\n"
        answer = raw_request(shown.server.port, request.encode())
        assert status(answer) == 404, target
        assert answer.endswith(b"\r\n\r\n"), target
        assert b"evil" not in answer


@pytest.mark.parametrize("part", ["0-", "0-999999999999999999", "9999-", "9999-99999", "-0", "5-1"])
def test_ranges_end_where_the_file_does(tmp_path, view, get, part):
    view.add([open_layer(write_filled(tmp_path / "a", 1), "a", "mask")])
    code, headers, body = get("data/0/0/0.0.0", Range=f"bytes={part}")
    if part.startswith("0-"):
        assert (code, body, headers["Content-Range"]) == (206, b"\1" * 64, "bytes 0-63/64")
    else:
        assert (code, body) == (416, b"")


NO_REQUESTS = {
    "nothing": b"",
    "empty lines": b"\r\n\r\n",
    "half": b"GET",
    "another version": b"GET / HTTP/9.9\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00",
    "negative length": b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
    "long path": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("text", NO_REQUESTS.values(), ids=NO_REQUESTS)
def test_what_is_no_request_takes_nothing_down(shown, get, text):
    raw_request(shown.server.port, text, whole=False)
    assert get("data/0/.zattrs")[0] == 200


def test_several_browsers_ask_at_once(shown, get):
    found = []
    threads = [threading.Thread(target=lambda: found.append(get("data/0/0/0.0.0")[0])) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 20
