"""``--live``: what a network says of the volumes that are shown, as somebody looks at them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from csc_data.errors import InvalidArgumentError
from csc_data.view import BlockWorker, Layer, live_volume
from csc_data.volumes import Volume

if TYPE_CHECKING:
    from csc_data.config.user_config import Config
    from csc_train.prediction import LiveNetwork, LivePrediction

GROUP = "live"
_MOST_VISIBLE = 8


class LiveLayers:
    """Makes the layers of a network on any volume; what is computed of a volume is kept for all places in it.

    Parameters
    ----------
    network : LiveNetwork
    worker : BlockWorker
    classes : sequence of str
        Those of the network that are shown.
    """

    def __init__(self, network: LiveNetwork, worker: BlockWorker, classes: Sequence[str]) -> None:
        self._network, self._worker, self._classes = network, worker, classes
        self._on: dict[str, LivePrediction] = {}
        self._lock = threading.Lock()

    def beside(self, layers: Sequence[Layer]) -> list[Layer]:
        """Return layers and what the network says of the raw among them; of the others only raw is drawn at first."""
        raw = next((layer.volume for layer in layers if layer.kind == "raw"), None)
        if raw is None:
            return list(layers)
        return [replace(layer, visible=layer.kind == "raw") for layer in layers] + self._layers(raw)

    def _layers(self, raw: Volume) -> list[Layer]:
        with self._lock:
            if raw.path not in self._on:
                self._on[raw.path] = self._network.on(raw, self._classes)
            source = self._on[raw.path]
        meanings = self._network.meanings
        return [
            Layer(
                name=f"{name} ({GROUP})",
                kind="mask" if meanings[name].kind == "label" else "probability",
                volume=live_volume(self._worker, source, channel, raw.path),
                class_name=name,
                group=GROUP,
                values=meanings[name],
                visible=channel < _MOST_VISIBLE,
            )
            for channel, name in enumerate(source.names)
        ]


@contextmanager
def open_live(
    source: str, config: Config | None, wanted: Callable[[str], bool], tell: Callable[[str], None]
) -> Iterator[LiveLayers]:
    """Load a network, and compute blocks until the end.

    Parameters
    ----------
    source, config
        As for `csc_train.prediction.LiveNetwork`.
    wanted : callable
        Tells whether a class is to be shown.
    tell : callable
        Called with a line for each kind of error.

    Raises
    ------
    InvalidArgumentError
        If the network has no class that is wanted.
    CscError, csc_models.ModelError
        If the network cannot be used.
    """
    from csc_cli.stages.weights import fetch_weights, is_published
    from csc_train.prediction import LiveNetwork

    if is_published(source):
        fetch_weights(source)
    network = LiveNetwork(source, config)
    classes = [name for name in network.arrays if wanted(name)]
    if not classes:
        raise InvalidArgumentError(f"{source} knows no class that was asked for; it knows {', '.join(network.arrays)}")
    with BlockWorker(tell) as worker:
        yield LiveLayers(network, worker, classes)
