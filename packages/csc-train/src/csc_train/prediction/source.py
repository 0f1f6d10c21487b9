"""Where a network comes from, in a form that goes to other processes; each process loads it once."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

from csc_data.config.user_config import Config
from csc_models.checkpoint import OutputDescription
from csc_train.devices import make_fabric
from csc_train.prediction.predictor import Predictor, load_predictor
from csc_train.prediction.window.passes import Activation, Activations, Passes, plan_turns
from csc_train.prediction.window.tiling import Windows
from csc_train.settings import TrainSettings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_KEPT = 2  # networks that a process holds, the last that were used


@dataclass(frozen=True, kw_only=True)
class NetworkSource:
    """A network, named or loaded.

    Attributes
    ----------
    given : path-like, TrainSettings or Predictor
        What `load_predictor` takes, or what it gave.
    overrides : mapping
        Settings that go before those of an experiment.
    config : Config or None
        Whose data folder may bring classes of its own.
    key : str
        The same for all copies in all processes.
    """

    given: str | PathLike[str] | TrainSettings | Predictor
    overrides: Mapping[str, Any] = field(default_factory=dict)
    config: Config | None = None
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    def load(self, device: str | None = None) -> ReadyNetwork:
        """Load it onto a device, or return what this process has loaded before.

        Parameters
        ----------
        device : str, optional
            That of the settings by default, else the best one here.

        Raises
        ------
        CscError, csc_models.ModelError
            As `load_predictor`, or if there is no such device.
        """
        with _lock:
            ready = _loaded.get((self.key, device))
            if ready is None:
                ready = _make_ready(self._predictor(), device)
            _loaded[self.key, device] = ready
            _loaded.move_to_end((self.key, device))
            while len(_loaded) > _KEPT:
                _loaded.popitem(last=False)
        return ready

    def release(self) -> None:
        """Forget what this process has loaded of it."""
        with _lock:
            for key in [key for key in _loaded if key[0] == self.key]:
                del _loaded[key]

    def _predictor(self) -> Predictor:
        if isinstance(self.given, Predictor):
            return self.given
        return load_predictor(self.given, self.config, **self.overrides)


@dataclass(frozen=True, kw_only=True)
class ReadyNetwork:
    """A network on its device.

    Attributes
    ----------
    predictor : Predictor
    fabric : Fabric
    """

    predictor: Predictor
    fabric: Fabric

    def passes(self, windows: Windows, names: tuple[str, ...] | None) -> Passes:
        """Return what predicts batches of patches.

        Parameters
        ----------
        windows : Windows
        names : tuple of str, or None
            The arrays that are wanted, in their order; None for all channels, whatever they stand for.
        """
        predictor, settings = self.predictor, self.predictor.settings
        wanted = tuple(each for each in predictor.outputs if names is None or set(names) & set(each.channels))
        return Passes(
            networks=tuple(self._with_precision(network) for network in predictor.networks),
            windows=windows,
            turns=plan_turns(windows, settings.tta),
            activation=_activation(predictor, wanted, names),
            device=self.fabric.device,
            channels={each.name: len(each.channels) for each in predictor.outputs},
            wanted=tuple(each.name for each in wanted),
        )

    def _with_precision(self, network: Any) -> Any:
        def predict(given: Any) -> Any:
            with self.fabric.autocast():
                return network(given)

        return predict


def _activation(
    predictor: Predictor, outputs: Sequence[OutputDescription], names: tuple[str, ...] | None
) -> Activation | Activations:
    """Return what becomes of the channels of some outputs, of which named ones are wanted."""
    if not outputs:
        output = predictor.settings.output
        return Activation(given="logit", wanted="probability" if output == "mask" else output)
    parts: list[Activation] = []
    given: list[str] = []
    for each in outputs:
        chosen = [name for name in names or each.channels if name in each.channels]
        channels = None if names is None else tuple(each.channels.index(name) for name in chosen)
        parts.append(Activation(given=each.values, wanted=predictor.blended(each), channels=channels))
        given += chosen
    if len(parts) == 1:
        return parts[0]
    counts = tuple(len(each.channels) for each in outputs)
    return Activations(parts=tuple(parts), counts=counts, order=tuple(given.index(name) for name in names or given))


def _make_ready(predictor: Predictor, device: str | None) -> ReadyNetwork:
    settings = predictor.settings
    fabric = make_fabric(device or settings.device, settings.precision)
    for network in predictor.networks:
        network.to(fabric.device).eval()
        if settings.compile:
            network.compile()
    return ReadyNetwork(predictor=predictor, fabric=fabric)


_loaded: OrderedDict[tuple[str, str | None], ReadyNetwork] = OrderedDict()
_lock = threading.Lock()
