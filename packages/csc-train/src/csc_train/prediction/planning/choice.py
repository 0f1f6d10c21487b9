"""Which arrays of a network are written for a region: classes, and what lies beside them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from csc_data.errors import InvalidArgumentError, did_you_mean
from csc_data.geometry import TOLERANCE
from csc_data.volumes.affinities import class_of_affinities
from csc_data.volumes.channels import class_of_channel
from csc_data.wording import listed
from csc_train.prediction.planning.regions import PredictRegion
from csc_train.prediction.predictor import Predictor


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayChoice:
    """Which arrays of a network are written.

    Of a class that is wanted its affinities are written, too, where the network has them, as nobody can use one without
    the other; distances, boundaries and further outputs where they are named, or all is asked for.

    Attributes
    ----------
    predictor : Predictor
        Its settings may name arrays, or ask for all.

    Raises
    ------
    InvalidArgumentError
        If an array is named that the network does not give, or that cannot be written with these settings.
    """

    predictor: Predictor

    def __post_init__(self) -> None:
        known = self.predictor.arrays
        for name in self._named or ():
            if name not in known:
                raise InvalidArgumentError(f"the network has no class {name}: {did_you_mean(name, known)}")
            if why := hindrance(name, self.predictor):
                raise InvalidArgumentError(f"{name} cannot be written: {why}")

    @property
    def _named(self) -> tuple[str, ...] | None:
        return self.predictor.settings.classes_to_write

    def of(self, region: PredictRegion) -> tuple[str, ...]:
        """Return the arrays to write for a region, in the network's order; none where it knows none of the classes.

        Raises
        ------
        InvalidArgumentError
            If one that is named cannot be written there.
        """
        names = tuple(name for name in self.predictor.arrays if self._is_wanted(name, region))
        if self._named is None:
            return tuple(name for name in names if not hindrance(name, self.predictor, region))
        for name in names:
            if why := hindrance(name, self.predictor, region):
                raise InvalidArgumentError(f"{name} cannot be written: {why}")
        return names

    def _is_wanted(self, name: str, region: PredictRegion) -> bool:
        if self._named is not None:
            return name in self._named
        if self.predictor.settings.all_classes:
            return True
        of_class = class_of_affinities(name) or name
        return class_of_channel(of_class) is None and (region.classes is None or of_class in region.classes)

    def notes(self, regions: Iterable[PredictRegion]) -> list[str]:
        """Return lines that name what is scored or annotated, or could be thought to be written, and is not."""
        if self._named is not None:
            return []
        regions = tuple(regions)
        known = self.predictor.arrays
        wanted = dict.fromkeys(name for region in regions for name in region.classes or ())
        absent = [name for name in wanted if name not in known]
        lines = [
            f"the network lacks {len(absent)} of {len(wanted)} classes that are scored or annotated: {listed(absent)}"
        ]
        left: dict[str, dict[str, None]] = {}
        for region in regions:
            for name in known:
                if self._is_wanted(name, region) and (why := hindrance(name, self.predictor, region)):
                    left.setdefault(why, {})[name] = None
        elsewhere = sorted(self.predictor.elsewhere)
        return [
            *(lines if absent else []),
            *(f"left out {listed(list(names))}: {why}" for why, names in left.items()),
            *([f"left out the output {listed(elsewhere)}: it has other voxels than the first"] if elsewhere else []),
        ]


def hindrance(name: str, predictor: Predictor, region: PredictRegion | None = None) -> str:
    """Return why an array of a network cannot be written, and what would help; empty where it can.

    Affinities say something of a voxel and its neighbour on one side, so passes in which this lies on another side, and
    voxels of another size, would change their meaning.
    """
    settings = predictor.settings
    if settings.output == "mask" and class_of_channel(name) is not None:
        return "masks say where a class is, and this is none (take another output)"
    if class_of_affinities(name) is None:
        return ""
    if settings.tta:
        return "affinities have a direction, which turned patches mix (leave tta out)"
    if predictor.patch.target.flat and settings.orthoplanes:
        return "affinities have a direction, which planes across z, y and x mix (set orthoplanes = False)"
    if settings.output_grid == "crop" and region is not None and region.grid is not None:
        sizes = zip(region.grid.voxel_size, predictor.patch.target.scale, strict=True)
        if any(abs(own / given - 1) > TOLERANCE for own, given in sizes):
            return "affinities are of neighbours among the network's voxels (set output_grid = 'target')"
    return ""
