"""What looking at volumes takes: until there is a link, until there is a picture, and for each chunk that is served.

    python benchmarks/view.py [--edge 600] [--layers 20] [--only link,chunks,zoomed,browser]

The link is that of `csc visualize` for 16 crops of 40 classes on disk, in a process of its own. Chunks are served by
another process to six connections, as many as a browser keeps; beside them Neuroglancer's own way, `LocalVolume`,
which decodes and encodes each. Pictures are drawn by a headless Chromium without a GPU, of volumes that fill the view
and of the same seen from afar; "alone" is without the coarser level that is made. CPU seconds of a browser are those of
all of its processes, those of a server its own.

Bars: the link after 2 s; a picture 15 s after it; for chunks that are sent as they are stored 1 ms of CPU each; a
server of 20 layers of 600^3 below 400 MB.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

CROPS, CLASSES, CHUNK, CONNECTIONS = 16, 40, 64, 6
KINDS_AND_VIEWS = [" ".join(words).replace("  ", " ").strip() for words in itertools.product(
    ("probability", "instances"), ("", "afar"), ("", "alone"))]  # fmt: skip
KINDS = {"probability": "u1", "instances": "u4", "half": "f2"}


def prepare(folder: Path, edge: int) -> None:
    """Write crops of many classes, and volumes of one level: probabilities, ids of objects, and what is converted."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    from csc_data.challenge import label_classes
    from csc_data.geometry import Grid
    from csc_data.volumes import create_multiscale, write_multiscale

    root = folder / "data" / "jrc_a" / "jrc_a.zarr" / "recon-1"
    grids = [Grid(voxel_size=(8 * f,) * 3, translation=(4 * f,) * 3, shape=(128 // f,) * 3) for f in (1, 2, 4)]
    levels = [np.full(grid.shape, 7, "u1") for grid in grids]
    write_multiscale(root / "em" / "fibsem-uint8", levels, grids)
    write_multiscale(folder / "class", levels, grids)
    for crop, name in itertools.product(range(CROPS), list(label_classes())[:CLASSES]):
        shutil.copytree(folder / "class", root / "labels" / "groundtruth" / f"crop{crop}" / name, copy_function=os.link)
    smooth = gaussian_filter(np.random.default_rng(0).normal(size=(CHUNK * 2,) * 3).astype("f4"), 3, mode="wrap")
    smooth = np.clip(0.5 + 0.25 * smooth / smooth.std(), 0, 1)
    values = {"probability": 255 * smooth, "instances": 1000 * (smooth > 0.5), "half": smooth}
    grid = Grid(voxel_size=(8, 8, 8), translation=(4, 4, 4), shape=(edge,) * 3)
    for kind, dtype in KINDS.items():
        array = create_multiscale(folder / kind, grid, dtype=dtype, chunks=(CHUNK,) * 3)
        tile = np.tile(values[kind].astype(dtype), (1, *[-(-edge // len(smooth))] * 2))[:, :edge, :edge]
        for begin in range(0, edge, len(smooth)):
            array[begin : begin + len(smooth)] = tile[: min(len(smooth), edge - begin)]


def serve(folder: Path, case: str, layers: int) -> None:
    """Serve volumes, until stdin ends: say where their chunks are, then CPU and memory after each line of stdin.

    The case is "neuroglancer" or a kind of volume, and after it "alone" for no level that is made, "afar" for a view of
    all from afar, "compared" for where each differs from ids of objects.
    """
    kind, *words = case.split()
    afar, alone = "afar" in words, "alone" in words
    if kind == "neuroglancer":
        import neuroglancer
        import zarr

        viewer = neuroglancer.Viewer()
        dimensions = neuroglancer.CoordinateSpace(names=["z", "y", "x"], units="nm", scales=[8] * 3)
        array = zarr.open_group(str(folder / "probability"), mode="r")["s0"]
        volumes = [neuroglancer.LocalVolume(array, dimensions=dimensions) for _ in range(layers)]
        with viewer.txn() as state:
            for number, volume in enumerate(volumes):
                state.layers[str(number)] = neuroglancer.ImageLayer(source=volume)
        origin = neuroglancer.server.global_server.server_url
        places = [f"/neuroglancer/npz/{viewer.token}.{volume.token}/1,1,1" for volume in volumes]
        say_until_end({"origin": origin, "places": places})
        return
    from csc_data.view import difference_layer, open_layer, showing

    if alone:
        showing.levels_to_show = lambda layer: layer.volume.levels
    drawn: Any = "instances" if kind == "instances" else "probability"
    opened = [open_layer(folder / kind, f"{number}", drawn, class_name="mito") for number in range(layers)]
    if "compared" in words:
        other = open_layer(folder / "instances", "other", "instances")
        opened = [difference_layer(layer, other, layer.name) for layer in opened]
    with showing.show(opened) as view:
        if afar:
            for state in view.states.values():
                state.cross_section_scale *= 4  # as wide as 100 pixels
        sources = [layer.source[0].url for layer in view.states["0"].layers]
        places = ["/" + source.partition("{origin}/")[2].rstrip("/") for source in sources]
        say_until_end({"origin": view.server.origin, "places": places, "link": view.link("0")})


def say_until_end(where: dict[str, Any]) -> None:
    """Print something, and what this process has used after each line of stdin."""
    print(json.dumps(where), flush=True)
    for _ in sys.stdin:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        print(json.dumps({"cpu": time.process_time(), "peak": peak}), flush=True)


class Served:
    """A server in a process of its own.

    Parameters
    ----------
    process : Popen
    where : dict
        What it says of itself.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        self.where = json.loads(process.stdout.readline())

    def used(self) -> dict[str, float]:
        """Return CPU seconds and most bytes of memory up to now."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, float] = json.loads(self._process.stdout.readline())
        return found

    def ask(self, paths: Sequence[str]) -> dict[str, float]:
        """Ask for some paths by some connections; return CPU seconds and memory of the server, and bytes."""
        host = urlsplit(self.where["origin"]).netloc
        remaining, lock = iter(paths), threading.Lock()

        def work(_: int) -> int:
            line, received = http.client.HTTPConnection(host, timeout=600), 0
            while True:
                with lock:
                    path = next(remaining, None)
                if path is None:
                    line.close()
                    return received
                line.request("GET", path)
                answer = line.getresponse()
                received += len(answer.read())
                if answer.status != 200:
                    raise SystemExit(f"{path}: {answer.status}")

        before = self.used()
        with ThreadPoolExecutor(CONNECTIONS) as threads:
            received = sum(threads.map(work, range(CONNECTIONS)))
        after = self.used()
        return {"cpu": after["cpu"] - before["cpu"], "peak": after["peak"], "bytes": received, "count": len(paths)}


@contextmanager
def served(folder: Path, case: str, layers: int) -> Iterator[Served]:
    """Serve something in a process of its own."""
    command = [sys.executable, __file__, "--folder", str(folder), "--serve", case, "--layers", str(layers)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Served(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


def boxes(edge: int, planes: bool = False) -> list[tuple[int, int, int]]:
    """Return the numbers of all chunks of a volume, or of those that three planes through its middle touch."""
    count = -(-edge // CHUNK)
    every = itertools.product(range(count), repeat=3)
    return [index for index in every if not planes or count // 2 in index]


def chunk_rows(folder: Path, edge: int, layers: int) -> None:
    """Print what each chunk takes, by ourselves and by Neuroglancer."""
    for case, what in (
        ("probability", "uint8, as stored"),
        ("instances", "uint32, as stored"),
        ("half", "float16, converted"),
        ("probability compared", "uint8 and uint32, compared"),
        ("neuroglancer", "uint8, Neuroglancer's LocalVolume (reference)"),
    ):
        with served(folder, case, layers) as server:
            if case == "neuroglancer":  # a part of all: each takes long
                ends = [",".join(str(min(edge, (i + 1) * CHUNK)) for i in index) for index in boxes(edge, planes=True)]
                begins = [",".join(str(i * CHUNK) for i in index) for index in boxes(edge, planes=True)]
                paths = [f"{server.where['places'][0]}/{b}/{e}" for b, e in zip(begins, ends, strict=True)]
            else:
                names = [".".join(map(str, index)) for index in boxes(edge)]
                paths = [f"{place}/0/{name}" for place in server.where["places"] for name in names]
                paths = paths if "as stored" in what else paths[: 2 * len(names)]
            found = server.ask(paths)
        each = found["cpu"] / found["count"] * 1e3
        over = "  OVER THE BAR of 1 ms" if "as stored" in what and each > 1 else ""
        over += "  OVER THE BAR of 400 MB" if case != "neuroglancer" and found["peak"] > 400e6 else ""
        print(f"{what:46}{found['count']:8}{each:10.3f} ms{found['peak'] / 1e6:8.0f} MB{over}", flush=True)


def zoomed_rows(folder: Path, edge: int) -> None:
    """Print what three planes of a volume take that is seen as a whole, with the level that is made and without."""
    for kind, level in itertools.product(("probability", "instances"), (0, 1)):
        with served(folder, kind, 1) as server:
            indices = boxes(-(-edge // 4) if level else edge, planes=True)
            paths = [f"{server.where['places'][0]}/{level}/{'.'.join(map(str, index))}" for index in indices]
            for again in ("", "again"):
                found = server.ask(paths)
                print(
                    f"{kind:14}{'overview' if level else 'as stored':12}{again:20}"
                    f"{found['count']:6} chunks{found['bytes'] / 1e6:9.1f} MB{found['cpu']:8.2f} s CPU", flush=True,
                )  # fmt: skip


@contextmanager
def visualize(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `csc visualize`; give its process once it has printed the link, and the link."""
    command = [sys.executable, "-m", "csc_cli", "visualize", "--data", str(folder / "data"), "--no-browser"]
    compiled = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder / "compiled"), "PYTHONDONTWRITEBYTECODE": ""}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=compiled
    ) as process:
        assert process.stdout is not None
        yield process, next(line for line in process.stdout if line.startswith("http://")).strip()
        process.terminate()


def cpu_of(number: int) -> float:
    """Return the CPU seconds of a process and of those that it began."""
    import psutil

    parent = psutil.Process(number)
    return float(sum(sum(one.cpu_times()[:2]) for one in (parent, *parent.children(recursive=True))))


def link_rows(folder: Path) -> None:
    """Print how long it takes until there is a link, and until the state of a crop is there."""
    for number in range(4):  # the first compiles what is imported, as installing does
        started = time.perf_counter()
        with visualize(folder) as (process, link):
            wall, used = time.perf_counter() - started, cpu_of(process.pid)
            with urllib.request.urlopen(f"{link}state/0", timeout=120) as answer:
                layers = len(json.load(answer)["layers"])
            opened, more = time.perf_counter() - started - wall, cpu_of(process.pid) - used
        over = "  OVER THE BAR of 2 s" if wall > 2 else ""
        if number:
            print(f"the link, {CROPS} crops of {CLASSES} classes      {wall:8.2f} s{used:8.2f} s CPU{over}")
            print(f"    the state of a crop, {layers} layers  {opened:8.2f} s{more:8.2f} s CPU", flush=True)


def crop_row(folder: Path) -> None:
    """Print how long it takes until a picture of a crop is there, the command and the browser included."""
    from csc_data.view.pictures.browser import headless_browser
    from csc_data.view.pictures.screenshot import PictureOptions, wait_and_draw

    started = time.perf_counter()
    with visualize(folder) as (process, link), headless_browser((1280, 960)) as browser:
        with urllib.request.urlopen(f"{link}state/0", timeout=120) as answer:
            state = quote(answer.read())
        wait_and_draw(browser, f"{link}v/view/#!{state}", folder / "crop.png", PictureOptions(timeout=600))
        wall, drawn, server = time.perf_counter() - started, cpu_of(browser.service.process.pid), cpu_of(process.pid)
    over = "  OVER THE BAR of 15 s" if wall > 15 else ""
    what = "a crop of csc visualize, raw and 8 classes"
    print(f"{what:46}{wall:8.1f} s{drawn:8.1f} s CPU; command {server:.2f} s CPU{over}", flush=True)


def browser_rows(folder: Path) -> None:
    """Print how long a headless Chromium takes to draw all of large volumes, from its start on."""
    from csc_data.view.pictures.browser import headless_browser
    from csc_data.view.pictures.screenshot import PictureOptions, wait_and_draw

    crop_row(folder)
    for case, layers in itertools.product(KINDS_AND_VIEWS, (1, 8)):
        with served(folder, case, layers) as server:
            started = time.perf_counter()
            with headless_browser((1280, 960)) as browser:
                wait_and_draw(
                    browser, server.where["link"], folder / f"{case}-{layers}.png", PictureOptions(timeout=600)
                )
                wall, used = time.perf_counter() - started, cpu_of(browser.service.process.pid)
            what = f"{case}, {layers} layers"
            print(f"{what:46}{wall:8.1f} s{used:8.1f} s CPU; server {server.used()['cpu']:.2f} s CPU", flush=True)


def main() -> None:
    """Make the world, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=600, help="voxels along each axis of the large volumes")
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--only", default="link,chunks,zoomed,browser")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve == "prepare":
        prepare(arguments.folder, arguments.edge)
        return
    if arguments.serve:
        serve(arguments.folder, arguments.serve, arguments.layers)
        return
    wanted = arguments.only.split(",")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        # In a process of its own: one that is started counts as its own what its parent held most.
        command = [sys.executable, __file__, "--folder", text, "--edge", str(arguments.edge), "--serve", "prepare"]
        subprocess.run(command, check=True)
        if "link" in wanted:
            link_rows(folder)
        if "chunks" in wanted:
            chunk_rows(folder, arguments.edge, arguments.layers)
        if "zoomed" in wanted:
            zoomed_rows(folder, arguments.edge)
        if "browser" in wanted:
            browser_rows(folder)


if __name__ == "__main__":
    main()
