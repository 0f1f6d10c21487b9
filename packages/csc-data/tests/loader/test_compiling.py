import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = """
import sys
from numba.core.dispatcher import Dispatcher
from csc_data.loader import compile_all, get_dataloader

def kinds():
    return {
        f"{module}.{name}": set(loop.overloads)
        for module in sorted(sys.modules) if module.startswith("csc_data")
        for name, loop in vars(sys.modules[module]).items() if isinstance(loop, Dispatcher)
    }

print(compile_all())
before = kinds()
print(sum(map(len, before.values())))
for poses in ({}, {"mirror": {"axes": {"y": 0.5}}, "rotate": {"axes": {"z": [-90, 90]}}}):
    loaders = get_dataloader(
        sys.argv[1], ["mito"], batch_size=2, spatial_transforms=poses, iterations_per_epoch=4,
        input_array_info={"shape": (1, 12, 14), "scale": (8, 8, 8)}, intensity_transforms={"blur": {}, "gamma": {}},
    )
    for loader in loaders:
        for _ in loader:
            pass
for name, loop in kinds().items():
    assert loop <= before.get(name, set()), (name, loop - before.get(name, set()))
"""


@pytest.mark.slow
def test_after_compiling_ahead_no_training_compiles(world, tmp_path):
    from csc_data.geometry import Grid
    from csc_data.splits.split_file import write_datasplit
    from csc_data.volumes import write_multiscale

    grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(24, 30, 30))
    raw = (world.raw(grid) * 50).clip(0, 255).astype("uint8")
    write_multiscale(tmp_path / "x.zarr/raw", [raw], [grid])
    for crop in ("crop1", "crop2"):
        world.write_labels("mito", grid, crop=crop)
    rows = [world.row(["mito"]), world.row(["mito"], crop="crop2", usage="validate")]
    write_datasplit(tmp_path / "datasplit.csv", rows)
    command = [sys.executable, "-c", TRAIN, str(tmp_path / "datasplit.csv")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder, loops = done.stdout.split("\n")[:2]
    assert Path(folder).is_dir()
    assert int(loops) > 20


def test_importing_the_loader_brings_no_library_that_batches_do_not_need():
    script = (
        "import sys, csc_data.loader; "
        "print({'zarr', 'scipy.ndimage', 'scipy.special', 'torch', 's3fs', 'cellmap_data'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
