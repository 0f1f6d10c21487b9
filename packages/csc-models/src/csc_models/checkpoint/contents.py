"""What a checkpoint file holds besides weights, as plain data.

Layout of a file (a ``torch.save`` archive of one dict)::

    format           "csc-models"
    format_version   1
    model            state dict
    description      fields of CheckpointDescription
    extra            what the trainer adds: optimiser state, epoch, ...
    digests          of each tensor, of the description and of extra; older files lack them
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args

from torch import Tensor, nn

from csc_models.catalog import describe_model, model_package, model_spec
from csc_models.checkpoint.digests import DIGESTS
from csc_models.ensemble import ENSEMBLE
from csc_models.errors import CheckpointError, UnknownModelError, nearest
from csc_models.specification.arguments import plain_arguments

FORMAT_VERSION = 1
ENTRIES = ("format", "format_version", "model", "description", "extra", DIGESTS)

Values = Literal["logit", "distance", "exclusive"]
"""What the numbers of an output mean."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputDescription:
    """One of the outputs of a network.

    Attributes
    ----------
    name : str
    channels : tuple of str
        What each of its channels is: a class, or what lies beside one, such as ``mito_distance``.
    values : {"logit", "distance", "exclusive"}
        As for `CheckpointDescription`.
    """

    name: str
    channels: tuple[str, ...]
    values: Values = "logit"


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointDescription:
    """What is needed to use a network again.

    Attributes
    ----------
    model_name : str or None
        Name in the catalogue; None for a network that the catalogue does not know. `save_checkpoint` fills it in.
    model_arguments : mapping
        Arguments of the network. `save_checkpoint` fills them in.
    classes : tuple of str
        What it was trained for; where there are no ``outputs``, what its channels stand for, in their order.
    input_arrays, target_arrays : mapping
        Per array a mapping of plain data, for example ``{"raw": {"shape": [64, 64, 64], "scale": [8, 8, 8]}}``
        with sizes in voxels and voxel sizes in nm.
    raw_range : tuple of float, or None
        What the ends of the raw data's range (0 and 255 for uint8) are mapped to before the network sees them:
        (0, 1) for data scaled to [0, 1], (0, 255) for data that is not scaled. None if it is not known.
    values : {"logit", "distance", "exclusive"}
        What the output is: logits of each class; signed distances scaled to -1 (outside) to 1 (inside); or logits of
        classes that exclude each other, whose probabilities are the softmax of them and of 0, which is none of them.
    outputs : tuple of OutputDescription
        All that the network gives, in the order of its channels where one array holds them all; an output that lies
        on other voxels than the first has an entry in ``target_arrays``. Empty where there is one output with a channel
        for each class, or nobody said.
    packages : tuple of str
        Packages that bring the network, with their versions (``"their-nets 1.2"``), where it is not from csc-models.
        `save_checkpoint` fills them in.

    Examples
    --------
    >>> description = CheckpointDescription(classes=("nuc", "mito"), raw_range=(0.0, 1.0))
    >>> description.channels
    ('nuc', 'mito')
    >>> CheckpointDescription.from_plain(description.to_plain()) == description
    True
    """

    model_name: str | None = None
    model_arguments: Mapping[str, Any] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    input_arrays: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    target_arrays: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    raw_range: tuple[float, float] | None = None
    values: Values = "logit"
    outputs: tuple[OutputDescription, ...] = ()
    packages: tuple[str, ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """What all channels stand for, in their order; empty where nobody said."""
        return tuple(name for output in self.outputs for name in output.channels) or self.classes

    def to_plain(self) -> dict[str, Any]:
        """As a dict of plain data, for a file."""
        plain = plain_arguments(asdict(self))
        if not self.packages:  # most files have none, and remain what older versions read
            del plain["packages"]
        return plain

    @classmethod
    def from_plain(cls, data: Mapping[str, Any]) -> CheckpointDescription:
        """From what `to_plain` made.

        Raises
        ------
        CheckpointError
            A field is not known or of the wrong form.
        """
        known = [entry.name for entry in fields(cls)]
        for name in data:
            if name not in known:
                raise CheckpointError(f"a description has no field {name!r}{nearest(name, known)}")
        values = dict(data)
        for name in ("classes", "packages"):
            values[name] = tuple(values.get(name, ()))
        raw_range = values.get("raw_range")
        values["raw_range"] = None if raw_range is None else check_raw_range(raw_range)
        values.setdefault("values", "logit")
        outputs = values["outputs"] = tuple(_output(entry) for entry in values.get("outputs", ()))
        for meaning in (values["values"], *(output.values for output in outputs)):
            if meaning not in get_args(Values):
                raise CheckpointError(f"values={meaning!r}: must be one of {', '.join(get_args(Values))}")
        return cls(**values)


def _output(entry: Any) -> OutputDescription:
    try:
        return OutputDescription(**{**entry, "channels": tuple(entry["channels"])})
    except (TypeError, KeyError) as error:
        raise CheckpointError(f"a description has the output {entry!r}, which is of no known form: {error}") from error


def check_raw_range(raw_range: Any) -> tuple[float, float]:
    """Two numbers, the first smaller.

    Raises
    ------
    CheckpointError
        It is something else.

    Examples
    --------
    >>> check_raw_range([0, 255])
    (0.0, 255.0)
    >>> check_raw_range((1, 0))
    Traceback (most recent call last):
        ...
    csc_models.errors.CheckpointError: raw_range=(1, 0): must be two numbers, the first smaller, such as (0.0, 1.0)
    """
    if isinstance(raw_range, (tuple, list)) and len(raw_range) == 2:
        low, high = raw_range
        if isinstance(low, (int, float)) and isinstance(high, (int, float)) and low < high:
            return float(low), float(high)
    raise CheckpointError(f"raw_range={raw_range!r}: must be two numbers, the first smaller, such as (0.0, 1.0)")


def described(description: CheckpointDescription, model: nn.Module) -> CheckpointDescription:
    """Add the network's name and arguments, and who brings it, to a description that has none.

    Examples
    --------
    >>> from csc_models import create_model
    >>> network = create_model("2d_unet_s", n_channels=1, n_classes=2, width=4, depth=2)
    >>> described(CheckpointDescription(classes=("nuc", "mito")), network).model_name
    '2d_unet_s'
    """
    own = describe_model(model)
    if own is None or description.model_name is not None:
        return description
    try:
        check_plain(own.arguments, "its arguments")
    except CheckpointError:  # a ResNet with a layer of somebody's own: loading asks for it
        return description
    names = [member["name"] for member in own.arguments["members"]] if own.name == ENSEMBLE else [own.name]
    packages = dict.fromkeys(package for name in names if (package := model_package(name)) is not None)
    return replace(description, model_name=own.name, model_arguments=own.arguments, packages=tuple(packages))


def check_channels(description: CheckpointDescription, source: str) -> None:
    """Check that a description names as many channels as its network gives, where it names any.

    Raises
    ------
    CheckpointError
        It does not.

    Examples
    --------
    >>> arguments = {"n_channels": 1, "n_classes": 3}
    >>> wrong = CheckpointDescription(model_name="2d_unet_s", model_arguments=arguments, classes=("nuc", "mito"))
    >>> try:
    ...     check_channels(wrong, "mine.pth")
    ... except CheckpointError as error:
    ...     print(str(error).partition("(")[0])
    mine.pth: the network gives 3 channels, and 2 are named
    """
    members = description.model_arguments.get("members")  # of an ensemble
    own: dict[str, Any] = {"name": description.model_name, "arguments": description.model_arguments}
    for network in members if isinstance(members, list) else [own]:
        try:
            given = network["arguments"].get(model_spec(network["name"] or "").classes)
        except (UnknownModelError, AttributeError, KeyError, TypeError):  # told when it is built
            continue
        if description.channels and given not in (None, len(description.channels)):
            raise CheckpointError(
                f"{source}: the network gives {given} channels, and {len(description.channels)} are named "
                f"({', '.join(description.channels)}); name one for each"
            )


def check_plain(value: Any, where: str, suffix: str = ".pth") -> None:
    """Check that a value can be read back, by ``weights_only=True`` or as JSON.

    Parameters
    ----------
    value : object
        Tensors, numbers, strings, None, and tuples, lists and dicts of them.
    where : str
        Its place, for the message.
    suffix : str
        Of the file; all but ``.pth`` hold what JSON gives back as it is (but tuples, which come back as lists).

    Raises
    ------
    CheckpointError
        There is something else in it; the text has its place.

    Examples
    --------
    >>> check_plain({"epochs": 3, "losses": [0.5, 0.4]}, "extra")
    >>> try:
    ...     check_plain({"path": object}, "extra")
    ... except CheckpointError as error:
    ...     print(str(error).partition(";")[0])
    extra['path'] is of type builtins.type, which a .pth file cannot hold
    """
    pickled = suffix == ".pth"
    if value is None or type(value) in (bool, int, float, str):
        return
    if pickled and (isinstance(value, Tensor) or type(value) in (complex, bytes)):
        return
    if isinstance(value, Mapping) and type(value).__name__ in ("dict", "OrderedDict", Counter.__name__):
        for key, item in value.items():
            if not pickled and type(key) is not str:
                raise CheckpointError(f"{where} has the key {key!r}; a {suffix} file can only have words as keys")
            check_plain(key, f"a key of {where}", suffix)
            check_plain(item, f"{where}[{key!r}]", suffix)
        return
    if type(value) in (list, tuple):
        for index, item in enumerate(value):
            check_plain(item, f"{where}[{index}]", suffix)
        return
    advice = "give tensors, numbers, strings, and lists and dicts of them (an array: torch.from_numpy(array))"
    if not pickled:
        advice = (
            "beside the weights it holds numbers, words, and lists and dicts of them; the state of an optimiser or "
            "trainer goes into a .pth"
        )
    raise CheckpointError(
        f"{where} is of type {type(value).__module__}.{type(value).__qualname__}, which a {suffix} file cannot hold; "
        f"{advice}"
    )
