"""What it costs to come to a first batch: CPU seconds above `import torch, numba`, in fresh processes.

    python benchmarks/start.py

Twice: with nothing compiled, and with the loops kept from before. The data is a small synthetic challenge, so reading
it is next to nothing; patches are turned and changed in intensity, as the loops of that are loaded, too.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from csc_data import SplitOptions, load_config, make_datasplit, write_datasplit
from csc_data.synthetic import write_challenge

FIRST_BATCH = """
import resource, sys

def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

begin = cpu()
import numba, torch
imported = cpu()
from csc_data.loader import get_dataloader
loaded = cpu()
loaders = get_dataloader(
    sys.argv[1], ["mito", "er"], batch_size=2, iterations_per_epoch=1,
    input_array_info={"shape": (64, 64, 64), "scale": (8, 8, 8)},
    spatial_transforms={"mirror": {"axes": {"x": 0.5}}, "rotate": {"axes": {"z": [-180, 180], "x": 20}}},
    intensity_transforms={name: {"probability": 1} for name in ("gamma", "gaussian_noise", "blur")},
)
next(iter(loaders.train))
end = cpu()
print(f"torch and numba {imported - begin:5.2f}   csc_data.loader {loaded - imported:5.2f}   "
      f"to the first batch {end - loaded:5.2f}   above torch and numba {end - imported:5.2f}")
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_challenge(Path(folder) / "data", quick=True)
        split = make_datasplit(load_config(data=f"{folder}/data"), SplitOptions(classes=["mito", "er"]))
        write_datasplit(f"{folder}/datasplit.csv", split.rows)
        environment = {**os.environ, "NUMBA_CACHE_DIR": f"{folder}/code"}
        for state in ("nothing compiled", *["compiled before"] * 3):
            command = [sys.executable, "-c", FIRST_BATCH, f"{folder}/datasplit.csv"]
            done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
            print(f"{state:<18}{done.stdout}", end="")


if __name__ == "__main__":
    main()
