"""Looking at samples, as a command."""

from __future__ import annotations

import json
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from csc_cli.commands.data_preview.viewer_links import viewer_link, viewer_source
from csc_data.geometry import Grid
from csc_data.splits.split_file import SplitRow, write_datasplit
from csc_data.volumes import write_multiscale

GRID = Grid(voxel_size=(8, 8, 8), translation=(1004, 2004, 3004), shape=(24, 24, 24))


@pytest.fixture(scope="module")
def challenge(tmp_path_factory):
    """A crop to train and one to validate; each half mito, with er annotated in the first alone."""
    folder = tmp_path_factory.mktemp("challenge")
    raw = np.random.default_rng(0).integers(0, 255, GRID.shape).astype("u1")
    write_multiscale(folder / "x.zarr" / "raw", [raw], [GRID])
    mito = np.zeros(GRID.shape, dtype="u1")
    mito[:12] = 1
    for crop, names in (("crop1", ("mito", "er")), ("crop2", ("mito",))):
        for name in names:
            write_multiscale(folder / "x.zarr" / "labels" / crop / name, [mito], [GRID])
    return folder


def write_experiment(folder, place, **extra):
    rows = [
        SplitRow(usage=usage, raw=f"{place}/x.zarr/raw", labels=f"{place}/x.zarr/labels/{crop}", classes=classes)
        for usage, crop, classes in (("train", "crop1", ("mito", "er")), ("validate", "crop2", ("mito",)))
        if usage not in extra.get("without", ())
    ]
    write_datasplit(folder / "split.csv", rows)
    (folder / "experiment.toml").write_text(
        'classes = ["mito", "er"]\ndatasplit_path = "split.csv"\narchitecture = "3d_unet_s"\n'
        "input_array_info = { shape = [16, 16, 16], scale = [8, 8, 8] }\nmodel_kwargs = { depth = 3 }\n"
        'random_seed = 3\nmodel_name = "small"\nepochs = 1\niterations_per_epoch = 2\nbatch_size = 1\ndevice = "cpu"\n'
        "[spatial_transforms.rotate.axes]\nz = [-180, 180]\n[intensity_transforms.gamma]\nprobability = 1.0\n"
    )
    return str(folder / "experiment.toml")


def rows_of(output):
    return [line for line in output.splitlines() if re.match(r" *\d+  x/crop", line)]


def test_a_figure_is_written_and_each_sample_told(run, challenge, tmp_path):
    config = write_experiment(tmp_path, challenge)
    done = run("data-preview", config, "-o", "figures/p.png", "-n", "5")
    assert done.exit_code == 0, done.output
    assert Path("figures/p.png").read_bytes().startswith(b"\x89PNG")
    rows = rows_of(done.output)
    assert [row.split()[0] for row in rows] == ["0", "1", "2", "3", "4"]
    for row in rows:
        _, crop, z, y, x, wanted, *_ = row.split()
        assert crop == "x/crop1"
        assert all(start <= float(p) <= start + 192 for start, p in zip((1000, 2000, 3000), (z, y, x), strict=True))
        assert wanted in ("mito", "er", "-")
        assert "mito" in row
    assert "wrote figures/p.png: 5 samples of 1 crop" in done.output
    assert "this is on disk" in done.output
    assert "https://" not in done.output


def test_the_seed_decides_which_samples(run, challenge, tmp_path):
    config = write_experiment(tmp_path, challenge)
    plain = rows_of(run("data-preview", config, "-n", "3").output)
    first = Path("preview.png").read_bytes()
    assert rows_of(run("data-preview", config, "-n", "3", "--seed", "3").output) == plain  # the file's own
    assert Path("preview.png").read_bytes() == first
    assert rows_of(run("data-preview", config, "-n", "3", "--seed", "4").output) != plain


def test_tiles_of_validation_tell_what_nobody_annotated(run, challenge, tmp_path):
    done = run("data-preview", write_experiment(tmp_path, challenge), "--validation", "-n", "20")
    rows = rows_of(done.output)
    assert len(rows) == 8
    assert all(row.split()[1] == "x/crop2" and "er 100.0%; others" in row for row in rows)
    without = run("data-preview", write_experiment(tmp_path, challenge, without=("validate",)), "--validation")
    assert without.exit_code == 1
    assert "no validation crop" in without.stderr


class _Quiet(SimpleHTTPRequestHandler):
    def log_request(self, *args: object) -> None:
        """Say nothing."""

    log_error = log_request


@pytest.fixture
def served(challenge):
    """The address of a web server that has the challenge."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(challenge)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_remote_samples_come_with_a_link_to_their_place(run, challenge, served, tmp_path):
    local = run("data-preview", write_experiment(tmp_path, challenge), "-n", "2")
    remote = run("data-preview", write_experiment(tmp_path, served), "-n", "2")
    assert remote.exit_code == 0, remote.output
    assert rows_of(remote.output) == rows_of(local.output)
    assert "this is on disk" not in remote.output
    links = re.findall(r"^sample (\d+): (\S+)$", remote.output, re.MULTILINE)
    assert [number for number, _ in links] == ["0", "1"]
    for row, (_, link) in zip(rows_of(remote.output), links, strict=True):
        state = state_of(link)
        assert [f"{p:.0f}" for p in reversed(state["position"])] == row.split()[2:5]
        sources = [f"zarr://{served}/x.zarr/{name}" for name in ("raw", "labels/crop1/mito", "labels/crop1/er")]
        assert [layer["source"] for layer in state["layers"]] == sources


def test_training_tells_once_how_much_is_known_and_present(run, challenge, tmp_path):
    config = write_experiment(tmp_path, challenge)
    done = run("train", config)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert [line.partition(":")[0] for line in lines if line.startswith("first batch")] == [
        "first batch of training",
        "first batch of validation",
    ]
    training = lines.index(next(line for line in lines if line.startswith("first batch of training")))
    assert re.fullmatch(r"  output mito: [\d.]+% known, [\d.]+% above 0, [\d.]+% unknown", lines[training + 1])
    assert lines.index(next(line for line in lines if "epoch 1/1" in line)) > training


RAW = "s3://bucket/x.zarr/recon-1/em/raw"


def state_of(link):
    head, _, fragment = link.partition("#!")
    assert head == "https://neuroglancer-demo.appspot.com/"
    return json.loads(unquote(fragment))


def test_links_open_raw_and_labels_at_the_position():
    labels = {"mito": "s3://bucket/x.zarr/labels/mito", "er": "data/er"}
    state = state_of(viewer_link(RAW, labels, (100.26, 2000, 30), (512, 256, 1024)))
    assert state["dimensions"] == {"x": [1e-9, "m"], "y": [1e-9, "m"], "z": [1e-9, "m"]}
    assert list(state["dimensions"]) == ["x", "y", "z"]
    assert state["position"] == [30, 2000, 100.3]
    assert state["layers"] == [
        {"type": "image", "source": f"zarr://{RAW}", "name": "raw"},
        {"type": "segmentation", "source": "zarr://s3://bucket/x.zarr/labels/mito", "name": "mito"},
    ]
    assert state["crossSectionScale"] == pytest.approx(2.56)


@pytest.mark.parametrize(
    ("path", "endpoint", "source"),
    [
        (RAW, None, f"zarr://{RAW}"),
        (RAW, "https://minio.example.org/", "zarr://https://minio.example.org/bucket/x.zarr/recon-1/em/raw"),
        ("https://example.org/x.n5/em/", None, "n5://https://example.org/x.n5/em"),
        ("gcs://bucket/x.zarr", None, "zarr://gs://bucket/x.zarr"),
        ("zip://x.zarr::s3://bucket/x.zip", None, None),
        ("memory://x.zarr", None, None),
        ("file:///data/x.zarr", None, None),
        (r"C:\data\x.zarr", None, None),
        ("/data/x.zarr", "https://minio.example.org", None),
    ],
)
def test_sources_are_what_a_browser_reaches(path, endpoint, source):
    assert viewer_source(path, endpoint=endpoint) == source
    assert (viewer_link(path, {}, (0, 0, 0), (8, 8, 8), endpoint=endpoint) is None) == (source is None)


def test_neuroglancer_itself_reads_the_links():
    neuroglancer = pytest.importorskip("neuroglancer")
    labels = {"nuc: nuc_mem": "s3://bucket/my data/it's/nuc,_mem"}
    state = neuroglancer.parse_url(viewer_link(RAW, labels, (10, 20, 30), (512, 512, 512)))
    np.testing.assert_array_equal(state.position, [30, 20, 10])
    assert state.dimensions.names == ("x", "y", "z")
    assert set(state.dimensions.units) == {"m"}
    assert [layer.name for layer in state.layers] == ["raw", "nuc: nuc_mem"]
    sources = [layer.layer.source[0].url for layer in state.layers]
    assert sources == [f"zarr://{RAW}", "zarr://s3://bucket/my data/it's/nuc,_mem"]
    assert [layer.type for layer in state.layers] == ["image", "segmentation"]
