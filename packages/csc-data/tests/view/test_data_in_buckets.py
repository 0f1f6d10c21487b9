"""What lies in a public bucket goes from there to the browser; what a browser would not read is converted here."""

import json

import numpy as np
import pytest

from csc_data.geometry import Grid
from csc_data.view import Layer, open_layer, state_of
from csc_data.view.remote import direct_source, viewer_url
from csc_data.volumes import open_volume, write_multiscale

GRID = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(8, 8, 8))
AXES = {
    "named": ["z", "y", "x"],
    "in words of their own": [{"name": axis, "type": "space", "unit": "nm"} for axis in "zyx"],
}


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory, s3_server_class):
    """The address of a bucket's server; volumes in it have names."""
    root = tmp_path_factory.mktemp("served")
    for name in ("standard", "float16", *AXES):
        path = root / "b/x.zarr" / name
        write_multiscale(path, [np.ones(GRID.shape, "f2" if name == "float16" else "u1")], [GRID])
        if name in AXES:
            document = json.loads((path / ".zattrs").read_text())
            document["multiscales"][0]["axes"] = AXES[name]
            (path / ".zattrs").write_text(json.dumps(document))
    with s3_server_class(root) as server:
        yield server.endpoint


def layer_of(name, endpoint):
    return Layer(name="er", kind="mask", volume=open_volume(f"s3://b/x.zarr/{name}", endpoint=endpoint))


def test_a_browser_asks_the_bucket(endpoint, view):
    layer = layer_of("standard", endpoint)
    assert view.add([layer]).layers[0].source[0].url == f"zarr://{endpoint}/b/x.zarr/standard"
    link = viewer_url(state_of([layer], lambda _: "zarr://s3://b/x.zarr/standard").to_json())
    assert link.startswith("https://neuroglancer-demo.appspot.com/#!%7B")
    assert "zarr://s3://b/x.zarr/standard" in link


@pytest.mark.parametrize("name", ["float16", *AXES, "standard/s0"])
def test_what_a_browser_would_not_read_is_served_here(endpoint, view, get, name):
    layer = layer_of(name, endpoint)
    assert direct_source(layer.volume) is None
    view.add([layer])
    assert get("data/0/0/0.0.0")[0] == 200


def test_a_browser_has_no_credentials(endpoint, monkeypatch):
    layer = layer_of("standard", endpoint)
    monkeypatch.setattr("csc_data.view.remote.storage_options", lambda *_, **__: {"key": "k", "secret": "s"})
    assert direct_source(layer.volume) is None


def test_what_lies_on_the_disk_stays_here(tmp_path):
    write_multiscale(tmp_path / "a", [np.ones(GRID.shape, "u1")], [GRID])
    assert direct_source(open_layer(tmp_path / "a", "a", "mask").volume) is None
