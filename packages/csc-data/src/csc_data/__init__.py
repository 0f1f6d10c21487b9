"""Data of the CellMap Segmentation Challenge: its facts, volumes in nm, data splits, and work block by block.

Everything is ordered z, y, x and measured in nm. The names below are the ones most people need; the modules hold more.
"""

from csc_data.errors import CscError, Problem, ProblemsError

__all__ = ["CscError", "Problem", "ProblemsError"]
__version__ = "0.1.0"
