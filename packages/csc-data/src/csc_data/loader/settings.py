"""What may be said about the batches of a training run: for `get_dataloader`, and for experiment files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from csc_data.challenge.classes.settings import Table, class_table_setting
from csc_data.config.settings import (
    COUNT,
    NOT_NEGATIVE,
    SHARE,
    Earlier,
    Given,
    Names,
    ReadBy,
    not_empty,
    setting,
    settings,
)
from csc_data.errors import Problem
from csc_data.loader.intensity import IntensityTransform, IntensityTransforms
from csc_data.loader.intensity.transforms import IntensityForm
from csc_data.loader.patches.value_transforms import (
    LOADED_CLASSES,
    ValueTransform,
    ValueTransforms,
    find_unstored_change,
)
from csc_data.loader.poses.array_info import ArrayInfo
from csc_data.loader.poses.parsing import SpatialForm
from csc_data.loader.poses.placement import PatchShape
from csc_data.loader.poses.spatial import SpatialTransforms
from csc_data.loader.sources.holding.regions import DEFAULT_BYTES
from csc_data.loader.sources.raw import DEFAULT_RANGE
from csc_data.loader.targets import BinaryTarget, TargetKind, parse_targets

Arrays = ArrayInfo | Mapping[str, Any]
Intensities = IntensityTransforms | Mapping[str, Any] | Sequence[IntensityTransform] | IntensityTransform | None


def different(classes: tuple[str, ...], _: Earlier) -> Iterator[Problem]:
    """Check that no class is named twice.

    Examples
    --------
    >>> [problem.what for problem in different(("nuc", "mito", "nuc"), {})]
    ['nuc is named twice']
    """
    for name in dict.fromkeys(name for name in classes if classes.count(name) > 1):
        yield Problem(where="", what=f"{name} is named twice")


def rising(limits: tuple[float, float] | None, _: Earlier) -> Iterator[Problem]:
    """Check that the first of two numbers is smaller.

    Examples
    --------
    >>> list(rising((0.0, 1.0), {}))
    []
    >>> [problem.what for problem in rising((1.0, 0.0), {})]
    ['the first must be smaller, got (1.0, 0.0)']
    """
    if limits is not None and not limits[0] < limits[1]:
        yield Problem(where="", what=f"the first must be smaller, got {limits}")


@settings
class SampleSettings:
    """Which samples there are, and what is done to them.

    Examples
    --------
    >>> settings = SampleSettings(classes=["nuc"], train_raw_value_transforms=lambda raw: 2 * raw - 1)
    >>> [problem.remedy for problem in settings.unstored_changes()]
    ['leave it out and set raw_range = (-1, 1)']
    >>> settings.value_transforms(None).classes
    ('nuc',)
    """

    class_table: Table = class_table_setting()
    classes: Names = setting("classes to learn, in the order of the output channels", not_empty, different)
    raw_range: Given[tuple[float, float], Sequence[float]] = setting(
        "what the ends of the raw type's range become before the network sees them", rising, default=DEFAULT_RANGE
    )
    interpolation: Literal["linear", "cubic"] = setting(
        "how raw is read where training patches are turned, scaled or bent", default="linear"
    )
    batch_size: int = setting("samples of a batch, on each device", COUNT, default=8)
    iterations_per_epoch: int = setting("training batches of an epoch", COUNT, default=1000)
    spatial_transforms: Given[SpatialTransforms, SpatialTransforms | Mapping[str, Any] | None] = setting(
        "mirror, transpose, rotate, scale and elastic: how training patches are turned, scaled and bent",
        ReadBy(SpatialTransforms.parse, SpatialForm),
        factory=lambda: {"mirror": {"axes": {"x": 0.5, "y": 0.5, "z": 0.5}}, "transpose": {"axes": ["x", "y", "z"]}},
    )
    intensity_transforms: Given[IntensityTransforms, Intensities] = setting(
        "gamma, contrast, brightness, noise, blur, sections, low_resolution: how raw is changed in training",
        ReadBy(IntensityTransforms.parse, IntensityForm),
        default=None,
    )
    train_raw_value_transforms: ValueTransform | None = setting(
        "your own random changes of raw in training: a callable on tensors", default=None
    )
    val_raw_value_transforms: ValueTransform | None = setting(
        "a callable on raw in validation; it must leave raw what prediction gives", default=None
    )
    target_value_transforms: ValueTransform | Mapping[str, ValueTransform] | None = setting(
        "a callable on the targets, or class names to callables", LOADED_CLASSES, default=None
    )
    weighted_sampler: bool = setting("draw every class equally often; otherwise every position", default=True)
    foreground_share: float | None = setting(
        "share of samples that hold a class, each as often; overrides weighted_sampler", SHARE, default=None
    )
    use_mutual_exclusion: bool = setting(
        "an annotated voxel of a class is a known 0 of every class that excludes it", default=False
    )
    random_validation: bool = setting("validate in a random order, fixed by the seed", default=False)
    validation_batch_limit: int | None = setting("validate on this many batches, always the same", COUNT, default=None)
    random_seed: int = setting("decides weights, samples and their order", NOT_NEGATIVE, default=0)
    num_workers: int = setting("processes that load data; 0 loads in the training process", NOT_NEGATIVE, default=0)
    start_method: Literal["fork", "forkserver", "spawn"] | None = setting(
        "how these are started; Python's default by default", default=None
    )
    gather_on: Literal["auto", "cpu", "device"] = setting(
        "where patches are gathered: on the device that trains, or by num_workers; auto is cpu as yet", default="auto"
    )
    with_positions: bool = setting("batches say where their samples come from, and how they lie there", default=False)
    cache_bytes: int = setting(
        "bytes of decoded crops to hold, by all processes that load together", NOT_NEGATIVE, default=DEFAULT_BYTES
    )

    def value_transforms(self, raw: ValueTransform | None) -> ValueTransforms:
        """Return what is applied to the values of each sample, with one of the two for raw."""
        return ValueTransforms(classes=self.classes, raw=raw, target=self.target_value_transforms)

    def unstored_changes(self) -> list[Problem]:
        """Find value transforms of raw that prediction, which applies ``raw_range`` alone, would leave out."""
        found = (
            find_unstored_change(transform, self.raw_range, where=where, may_be_random=may_be_random)
            for where, transform, may_be_random in (
                ("train_raw_value_transforms", self.train_raw_value_transforms, True),
                ("val_raw_value_transforms", self.val_raw_value_transforms, False),
            )
            if transform is not None
        )
        return [problem for problem in found if problem is not None]


def _by_name(arrays: Any) -> Any:
    """Return arrays by their names; a single one needs none."""
    if arrays is None:
        return None
    named = isinstance(arrays, Mapping) and arrays and all(isinstance(e, Mapping | ArrayInfo) for e in arrays.values())
    return {str(name): array for name, array in arrays.items()} if named else {"": arrays}


def _further_inputs(arrays: Mapping[str, ArrayInfo], _: Earlier) -> Iterator[Problem]:
    yield from _taken(list(arrays)[1:], ("input", "output"))


def _further_targets(arrays: Mapping[str, ArrayInfo] | None, earlier: Earlier) -> Iterator[Problem]:
    others = list(earlier.get("input_array_info", ()))[1:]
    yield from _taken(list(arrays or ())[1:], ("input", "output", *others))


def _taken(names: Sequence[str], taken: Sequence[str]) -> Iterator[Problem]:
    for name in names:
        if name in taken:
            what = f"{name!r} cannot name a further array"
            yield Problem(where="", what=what, remedy="the first ones are input and output")


@settings
class LoaderSettings(SampleSettings):
    """What `get_dataloader` takes, but for the datasplit; see there."""

    input_array_info: Given[Mapping[str, ArrayInfo], Arrays] = setting(
        "shape and scale of the input, or of several by name", ReadBy(_by_name, ArrayInfo), _further_inputs
    )
    target_array_info: Given[Mapping[str, ArrayInfo] | None, Arrays | None] = setting(
        "the same of the targets", ReadBy(_by_name, ArrayInfo), _further_targets, default=None
    )
    targets: Given[Mapping[str, TargetKind], TargetKind | Mapping[str, Any] | str | None] = setting(
        "what targets say", ReadBy(parse_targets, Any), default=None
    )
    device: str | None = setting("where batches are put", default=None)
    packed: bool = setting("labels as one number a voxel, and raw as it is stored; see unpack_batch", default=False)
    rank: int = setting("this process", NOT_NEGATIVE, default=0)
    world_size: int = setting("the number of processes", COUNT, default=1)

    @property
    def patch(self) -> PatchShape:
        """Input and target, and what further arrays there are."""
        (_, first), *others = self.input_array_info.items()
        (_, target), *further = (self.target_array_info or {"": first}).items()
        return PatchShape(input=first, target=target, further_inputs=dict(others), further_targets=dict(further))

    @property
    def kinds(self) -> dict[str, TargetKind]:
        """The kind of each target; a further array that none is named for has a binary one of its own."""
        further = (name for name in self.patch.further_targets if name not in self.targets)
        return {**self.targets, **{name: BinaryTarget() for name in further}}
