"""Data of the CellMap Segmentation Challenge: its facts, volumes in nm, data splits, and work block by block.

Everything is ordered z, y, x and measured in nm. The names below are the ones most people need; the modules hold more.
They are imported when they are first used, so that a command's ``--help`` does not wait for numpy and zarr.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from csc_data.errors import CscError, Problem, ProblemsError

if TYPE_CHECKING:
    from csc_data.blocks import BlockGrid, Ledger, run_blocks
    from csc_data.challenge import get_class_relations, get_test_crops, get_tested_classes
    from csc_data.datasplit import SplitRow, read_datasplit, write_datasplit
    from csc_data.datasplit_csv import make_datasplit_csv, make_s3_datasplit_csv
    from csc_data.experiment import read_experiment
    from csc_data.fetching import fetch_data
    from csc_data.geometry import Grid, Roi
    from csc_data.settings import Settings, load_settings
    from csc_data.splitting import SplitOptions, make_datasplit
    from csc_data.volumes import Volume, open_volume, write_multiscale

__all__ = [
    "BlockGrid",
    "CscError",
    "Grid",
    "Ledger",
    "Problem",
    "ProblemsError",
    "Roi",
    "Settings",
    "SplitOptions",
    "SplitRow",
    "Volume",
    "fetch_data",
    "get_class_relations",
    "get_test_crops",
    "get_tested_classes",
    "load_settings",
    "make_datasplit",
    "make_datasplit_csv",
    "make_s3_datasplit_csv",
    "open_volume",
    "read_datasplit",
    "read_experiment",
    "run_blocks",
    "write_datasplit",
    "write_multiscale",
]
__version__ = "0.1.0"

_HOMES = {
    "blocks": ("BlockGrid", "Ledger", "run_blocks"),
    "challenge": ("get_class_relations", "get_test_crops", "get_tested_classes"),
    "datasplit": ("SplitRow", "read_datasplit", "write_datasplit"),
    "datasplit_csv": ("make_datasplit_csv", "make_s3_datasplit_csv"),
    "experiment": ("read_experiment",),
    "fetching": ("fetch_data",),
    "geometry": ("Grid", "Roi"),
    "settings": ("Settings", "load_settings"),
    "splitting": ("SplitOptions", "make_datasplit"),
    "volumes": ("Volume", "open_volume", "write_multiscale"),
}


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first asked for."""
    for module, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(f"csc_data.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'csc_data' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
