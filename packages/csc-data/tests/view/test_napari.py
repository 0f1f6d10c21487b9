"""Layers as napari takes them: lazily, at their place in nm, in the colours of their classes."""

import importlib.util
import sys

import numpy as np
import pytest

from csc_data.challenge.colours import as_hex, class_colour
from csc_data.errors import InvalidArgumentError, MissingPackageError
from csc_data.geometry import Grid
from csc_data.view import array_layer, difference_layer, napari_layers, open_layer, show_in_napari
from csc_data.volumes import write_multiscale
from csc_data.volumes.stored_values import StoredValues

pytestmark = pytest.mark.skipif(importlib.util.find_spec("dask") is None, reason="needs csc-data[napari]")

GRID = Grid(voxel_size=(8, 4, 2), translation=(100, 50, 20), shape=(8, 8, 8))
COARSE = Grid(voxel_size=(16, 8, 4), translation=(104, 52, 21), shape=(4, 4, 4))
DATA = np.random.default_rng(0).integers(1, 255, GRID.shape).astype("u1")


def layer(array=DATA, name="x", kind="mask", **more):
    return array_layer(array, name, kind, voxel_size=GRID.voxel_size, translation=GRID.translation, **more)


def of(one):
    ((data, keywords, kind),) = napari_layers([one])
    return data, keywords, kind


def test_a_pyramid_lies_where_it_is_in_nm_and_is_read_when_it_is_looked_at(tmp_path):
    write_multiscale(tmp_path / "a", [DATA, DATA[::2, ::2, ::2]], [GRID, COARSE], chunks=(4, 4, 4))
    (tmp_path / "a/s0/1/1/1").write_bytes(b"nonsense")  # not read for what follows
    data, keywords, kind = of(open_layer(tmp_path / "a", "raw", "raw", group="raw"))
    assert (kind, keywords["multiscale"], keywords["metadata"]["group"]) == ("image", True, "raw")
    assert (keywords["scale"], keywords["translate"], set(keywords["units"])) == ((8, 4, 2), (100, 50, 20), {"nm"})
    assert [level.shape for level in data] == [(8, 8, 8), (4, 4, 4)]
    assert data[0].chunks == ((4, 4),) * 3
    np.testing.assert_array_equal(data[0][:3, 2, 1:].compute(), DATA[:3, 2, 1:])
    np.testing.assert_array_equal(data[1].compute(), DATA[::2, ::2, ::2])


def test_raw_has_the_contrast_of_the_data():
    values = np.full(GRID.shape, 100, "u2")
    values[4:] = 300
    _, keywords, _ = of(layer(values, kind="raw"))
    assert (keywords["colormap"], keywords["contrast_limits"]) == ("gray", (100, 300))


@pytest.mark.parametrize(
    ("dtype", "values", "limits"),
    [
        ("u1", None, (0, 255)),
        ("f4", None, (0, 1)),
        ("f4", StoredValues(kind="probability", one=2.5), (0, 2.5)),
        ("f4", StoredValues(kind="logit"), (-4.595, 4.595)),
    ],
)
def test_probabilities_go_from_black_to_the_colour_of_their_class(dtype, values, limits):
    _, keywords, kind = of(layer(DATA.astype(dtype), kind="probability", class_name="er", values=values))
    assert (kind, keywords["colormap"]) == ("image", as_hex(class_colour("er")))
    assert keywords["contrast_limits"] == pytest.approx(limits, abs=1e-3)


def test_labels_have_the_colour_of_their_class_and_objects_one_each():
    data, keywords, kind = of(layer(DATA > 100, class_name="mito", visible=False))
    assert (kind, data.dtype, keywords["visible"]) == ("labels", np.uint8, False)
    np.testing.assert_array_equal(data.compute(), DATA > 100)
    assert keywords["colormap"][1] == keywords["colormap"][None] == as_hex(class_colour("mito"))
    assert keywords["colormap"][0] == "transparent"
    assert "colormap" not in of(layer(kind="instances", class_name="mito"))[1]


def test_a_difference_keeps_its_three_colours():
    _, keywords, kind = of(difference_layer(layer(DATA > 100), layer(DATA > 120), "d"))
    assert kind == "labels"
    assert len(set(keywords["colormap"].values())) == 5


def test_without_napari_or_a_screen_it_is_said_what_to_do(monkeypatch):
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    monkeypatch.setitem(sys.modules, "napari", None)
    with pytest.raises(MissingPackageError, match=r'pip install "napari\[all\]"'):
        show_in_napari([layer()])
    for name in ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform == "linux":
        with pytest.raises(InvalidArgumentError, match="there is no screen for napari"):
            show_in_napari([layer()])


def test_napari_takes_them(monkeypatch):
    """Without a window: what its layers say."""
    napari = pytest.importorskip("napari")
    made = {
        one.name: napari.layers.Layer.create(*data)
        for one in (layer(name="mask", class_name="mito"), layer(name="p", kind="probability", class_name="er"))
        for data in napari_layers([one])
    }
    assert as_hex(tuple(round(255 * c) for c in made["mask"].get_color(1)[:3])) == as_hex(class_colour("mito"))
    assert tuple(made["p"].translate) == GRID.translation
