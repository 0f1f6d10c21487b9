"""Which of several processes this is, told before they know of each other."""

from __future__ import annotations

import os

# torchrun, srun, and Lightning Fabric where it starts processes itself; each of them counts from 0.
_GLOBAL = ("RANK", "SLURM_PROCID")
_LOCAL = ("NODE_RANK", "LOCAL_RANK")


def is_first_process() -> bool:
    """Tell whether this is the process that writes and prints, of those that train together."""
    for name in _GLOBAL:
        if name in os.environ:
            return os.environ[name] == "0"
    return all(os.environ.get(name, "0") == "0" for name in _LOCAL)
