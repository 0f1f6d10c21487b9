"""The organisers' manifests, from an https server on loopback."""

from __future__ import annotations

import functools
import http.server
import ssl
import threading

import pytest

from csc_data.challenge import get_test_crops, refreshing
from csc_data.challenge.current_lists import cache_folder, cached_manifest, load_test_crops, load_zip_places
from csc_data.challenge.refreshing import RefreshError, manifest_url, refresh_manifests
from csc_data.config.user_config import Config
from csc_data.errors import InvalidArgumentError, ProblemsError
from csc_data.fetching.sources import known_crops

trustme = pytest.importorskip("trustme")

MANIFESTS = {
    "manifest.csv": "crop_number,collection,alignment,crop_url,em_url\r\n"
    "77,jrc_new,recon-1,s3://buck/jrc_new/jrc_new.zarr/recon-1/labels/groundtruth/crop77,s3://buck/jrc_new/em\r\n",
    "test_crop_manifest.csv": "crop_name,dataset,class_label,voxel_size,translation,shape\n"
    "990,jrc_new,mito,[8;8;8],[0;0;0],[10;10;10]\n990,jrc_new,er,[8;8;8],[0;0;0],[10;10;10]\n",
    "zip_manifest.csv": "all_res,raw_padding,file,url\nFalse,64,x.zip,s3://buck/zips/x.zip\n",
}


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "served"
    place.mkdir()
    for name, text in MANIFESTS.items():
        (place / name).write_text(text, encoding="utf-8")
    return place


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path.startswith("/to-http/"):
            self.send_response(302)
            self.send_header("Location", f"http://example.org{self.path}")
            self.end_headers()
        else:
            super().do_GET()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def address(folder, authority):
    """Address of an https server with a certificate of `authority`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(timeout=60)


@pytest.fixture
def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def variables(address):
    return {
        "CSC_FETCH_DATA_MANIFEST_URL": f"{address}/manifest.csv",
        "CSC_TEST_CROP_MANIFEST_URL": f"{address}/test_crop_manifest.csv",
        "CSC_FETCH_ZIP_DATA_MANIFEST_URL": f"{address}/zip_manifest.csv",
    }


def test_addresses_are_the_organisers_unless_the_environment_says_otherwise():
    assert manifest_url("test_crops", {}).startswith("https://raw.githubusercontent.com/janelia-cellmap/")
    assert manifest_url("test_crops", {}).endswith("/utils/test_crop_manifest.csv")
    assert manifest_url("crops", {"CSC_FETCH_DATA_MANIFEST_URL": "https://x/y"}) == "https://x/y"


def test_refreshed_lists_are_used_from_then_on_and_forgotten_with_the_folder(tmp_path, address, trusting):
    config = Config(data=str(tmp_path / "data"))
    assert load_test_crops(config) == get_test_crops()
    found = refresh_manifests(environ=variables(address), context=trusting)
    assert [(manifest.name, manifest.entries) for manifest in found] == [("crops", 1), ("test_crops", 1), ("zips", 1)]
    assert found[1].url == f"{address}/test_crop_manifest.csv"
    (crop,) = load_test_crops(config).values()
    assert (crop.id, crop.classes) == (990, ("mito", "er"))
    known = known_crops(config)
    assert [(source.id, source.bucket) for source in known.crops] == [(77, "buck"), (990, "buck")]
    assert f"as of {found[0].date}" in known.origin
    assert [place.url for place in load_zip_places()] == ["s3://buck/zips/x.zip"]
    for path in cache_folder().iterdir():
        path.unlink()
    assert load_test_crops(config) == get_test_crops()


def test_the_variables_of_the_official_tools_name_the_lists(tmp_path, folder, monkeypatch):
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        for name, url in variables(f"http://127.0.0.1:{server.server_address[1]}").items():
            monkeypatch.setenv(name, url)
        refresh_manifests()
        server.shutdown()
        thread.join(timeout=60)
    assert [source.id for source in known_crops(Config(data=str(tmp_path / "data"))).crops] == [77, 990]
    from csc_data.challenge import TEST_CROPS

    assert [(row.id, row.class_label) for row in TEST_CROPS] == [(990, "mito"), (990, "er")]


def test_without_trust_nothing_is_read(address):
    with pytest.raises(RefreshError, match="certificate verify failed"):
        refresh_manifests(environ=variables(address))
    assert cached_manifest("crops") is None


@pytest.mark.parametrize(
    ("name", "text", "error", "words"),
    [
        ("manifest.csv", "<html>sign in</html>", ProblemsError, "lacks crop_name"),
        ("test_crop_manifest.csv", "", ProblemsError, "lacks crop_name"),
        ("zip_manifest.csv", "all_res,raw_padding,file,url\nmaybe,1,x,s3://b/x\n", ProblemsError, "row 2"),
        ("zip_manifest.csv", None, RefreshError, "404"),
    ],
)
def test_a_damaged_list_replaces_nothing(address, trusting, folder, name, text, error, words):
    refresh_manifests(environ=variables(address), context=trusting)
    before = {path.name: path.read_bytes() for path in cache_folder().iterdir()}
    (folder / "manifest.csv").write_text(MANIFESTS["manifest.csv"].replace("77", "78"), encoding="utf-8")
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(error, match=words) as caught:
        refresh_manifests(environ=variables(address), context=trusting)
    assert name in str(caught.value)
    assert {path.name: path.read_bytes() for path in cache_folder().iterdir()} == before


def test_what_is_too_large_is_not_read_to_its_end(address, trusting, folder, monkeypatch):
    monkeypatch.setattr(refreshing, "_LARGEST_BYTES", 1000)
    (folder / "manifest.csv").write_bytes(bytes(2000))
    with pytest.raises(RefreshError, match="is larger than"):
        refresh_manifests(environ=variables(address), context=trusting)


@pytest.mark.parametrize("url", ["http://example.org/m.csv", "file:///etc/passwd", "ftp://x/y", "nothing", "https://"])
def test_only_https_is_asked(url):
    with pytest.raises(InvalidArgumentError, match="must begin with https://"):
        refresh_manifests(environ={"CSC_FETCH_DATA_MANIFEST_URL": url})


def test_a_redirection_away_from_https_is_not_followed(address, trusting):
    urls = {**variables(address), "CSC_FETCH_DATA_MANIFEST_URL": f"{address}/to-http/manifest.csv"}
    with pytest.raises(RefreshError, match="must begin with https://, got 'http://example"):
        refresh_manifests(environ=urls, context=trusting)


def test_no_network_is_told_and_what_was_known_holds(tmp_path, address, trusting):
    refresh_manifests(environ=variables(address), context=trusting)
    closed = "https://127.0.0.1:9"
    with pytest.raises(RefreshError, match="cannot be read"):
        refresh_manifests(environ=variables(closed), context=trusting)
    assert list(load_test_crops(Config(data=str(tmp_path)))) == [990]
