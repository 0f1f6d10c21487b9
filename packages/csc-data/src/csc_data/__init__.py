"""Data of the CellMap Segmentation Challenge: its facts, volumes in nm, data splits, and work block by block.

Everything is ordered z, y, x and measured in nm. The names that most people need stand in ``__init__.pyi``; the modules
hold more. They are imported when they are first used, so that a command's ``--help`` does not wait for numpy and zarr.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.2.0"
