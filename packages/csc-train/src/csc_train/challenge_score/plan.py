"""Which validation crops and classes are scored, and when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from csc_data.geometry import Grid
from csc_data.wording import plural
from csc_train.objectives.metrics import Measured

ALL = "challenge"
"""Name of the overall score; others follow it: ``challenge/semantic``, ``challenge/mito``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredCrop:
    """A validation crop that is scored.

    Attributes
    ----------
    number : int
        In ``patches.reader.crops``.
    name : str
    grid : Grid
        The voxels of the targets that cover it.
    annotations : mapping of str to str
        Classes that are annotated here, in the order of the network's, to their volumes.
    instances : frozenset of str
        The classes that are scored as instances.
    tiles : int
        How many tiles of validation cover it.

    Examples
    --------
    >>> from csc_data import Grid
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(10, 10, 10))
    >>> crop = ScoredCrop(
    ...     number=0, name="mine/crop1", grid=grid, annotations={"er": "er", "mito": "mito"},
    ...     instances=frozenset({"mito"}), tiles=2,
    ... )
    >>> crop.classes(instances=False), crop.size(instances=True)
    (('er',), 2000)
    """

    number: int
    name: str
    grid: Grid
    annotations: Mapping[str, str]
    instances: frozenset[str]
    tiles: int

    def classes(self, *, instances: bool) -> tuple[str, ...]:
        """Return the classes that are scored: the semantic ones, or all."""
        return tuple(name for name in self.annotations if instances or name not in self.instances)

    def size(self, *, instances: bool) -> int:
        """Return the bytes that it takes, one a voxel and class."""
        return self.grid.size * len(self.classes(instances=instances))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorePlan:
    """What is scored; of nothing when it has no crops.

    Attributes
    ----------
    output : Measured or None
        The output of the network that says where classes are.
    channels : mapping of str to int
        The channel of each class.
    crops : tuple of ScoredCrop
    instances : frozenset of str
        The classes that are scored as instances.
    every, epochs : int
        Instance classes are scored every so many epochs, and in the last; 0 for never.
    remarks : tuple of str
        Which crops are left out, and why.

    Examples
    --------
    >>> from csc_data import Grid
    >>> grid = Grid(voxel_size=(8, 8, 8), translation=(0, 0, 0), shape=(10, 10, 10))
    >>> mito = frozenset({"mito"})
    >>> crop = ScoredCrop(
    ...     number=0, name="mine/crop1", grid=grid, annotations={"er": "er", "mito": "mito"}, instances=mito, tiles=2
    ... )
    >>> plan = ScorePlan(channels={"er": 0, "mito": 1}, crops=(crop,), instances=mito, every=5, epochs=12)
    >>> [epoch for epoch in range(1, 13) if plan.scores_instances(epoch)]
    [5, 10, 12]
    >>> plan.classes(), plan.names()[-2:]
    (('er', 'mito'), ('challenge/er', 'challenge/mito'))
    >>> plan.describe()[0].partition(";")[0]
    'challenge score: of 1 validation crop'
    """

    output: Measured | None = None
    channels: Mapping[str, int] = field(default_factory=dict)
    crops: tuple[ScoredCrop, ...] = ()
    instances: frozenset[str] = frozenset()
    every: int = 0
    epochs: int = 0
    remarks: tuple[str, ...] = ()

    def scores_instances(self, epoch: int) -> bool:
        """Tell whether instance classes are scored in an epoch, counted from 1."""
        return self.every > 0 and (epoch % self.every == 0 or epoch == self.epochs)

    def describe(self) -> list[str]:
        """Say what is scored and when, and what is left out."""
        if not self.crops:
            return list(self.remarks)
        when = f"every {self.every} epochs and in the last" if self.every else "never"
        crops = plural(len(self.crops), "validation crop")
        return [f"challenge score: of {crops}; semantic classes each epoch, instance classes {when}", *self.remarks]

    def classes(self) -> tuple[str, ...]:
        """Return the classes that are annotated in some crop."""
        return tuple(name for name in self.channels if any(name in crop.annotations for crop in self.crops))

    def names(self) -> tuple[str, ...]:
        """Return the names of all scores that an epoch may have.

        The overall score is the root of the product of both kinds' means; where classes of one kind alone are annotated
        it is their mean, as the root would be 0 whatever the network does.
        """
        known = self.classes()
        semantic = [name for name in known if name not in self.instances]
        instance = [name for name in known if name in self.instances] if self.every else []
        overall = [ALL] if known and len(semantic) + len(instance) == len(known) else []
        kinds = {f"{ALL}/semantic": semantic, f"{ALL}/instance": instance}
        means = [name for name, members in kinds.items() if members]
        return (*overall, *means, *(f"{ALL}/{name}" for name in known if name in (*semantic, *instance)))
