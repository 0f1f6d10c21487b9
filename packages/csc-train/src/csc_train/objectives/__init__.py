"""What training optimises, and what validation measures: losses and metrics over what is known.

NaN in a target is unknown and takes no part. A loss gives a sum and, from the target alone, by how much a total has to
be divided; so means over several batches and processes are those over everything together. `objective` puts the losses
of an experiment together.
"""

from csc_train.objectives.losses.cellmap_wrapper import CellMapLossWrapper
from csc_train.objectives.objective import Objective, build_objective

__all__ = ["CellMapLossWrapper", "Objective", "build_objective"]
