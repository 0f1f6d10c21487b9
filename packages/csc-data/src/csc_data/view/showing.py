"""`show`: a server for some layers, and the link to it."""

from __future__ import annotations

import html
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from csc_data.geometry import Roi
from csc_data.view.layers import Layer
from csc_data.view.overview import levels_to_show
from csc_data.view.remote import direct_source
from csc_data.view.saved import read_saved, restored
from csc_data.view.serving.server import ViewServer
from csc_data.view.serving.volumes import ServedVolume
from csc_data.view.state import looking_at, state_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """Somewhere to go to in a scene.

    Attributes
    ----------
    title : str
        What the list says of it.
    roi : Roi
        What to look at, in nm.
    """

    title: str
    roi: Roi


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is shown at a place.

    Attributes
    ----------
    layers : sequence of Layer
    roi : Roi or None
        What to look at, in nm; the extent of the last visible layer for None.
    panes : sequence of sequence of str
        Names of the layers of views side by side; one view of four sides where there are none.
    spots : sequence of Spot
        Where a click leads to, listed below the place while it is looked at.
    """

    layers: Sequence[Layer]
    roi: Roi | None = None
    panes: Sequence[Sequence[str]] = ()
    spots: Sequence[Spot] = ()


class View:
    """Volumes that are being served to browsers on this machine, until `close`.

    Parameters
    ----------
    bind : str
        Address to listen on.
    port : int
        0 takes one that is free.

    Raises
    ------
    InvalidArgumentError
        If it cannot listen there.
    """

    def __init__(self, bind: str = "127.0.0.1", port: int = 0) -> None:
        self.server = ViewServer(bind, port)
        self.states: dict[str, Any] = {}
        self._titles: dict[str, str] = {}
        self._sources: dict[int, tuple[Layer, str]] = {}

    @property
    def url(self) -> str:
        """The link to open; it holds a secret."""
        return self.server.url

    def add(self, layers: Sequence[Layer], *, title: str = "", roi: Roi | None = None) -> Any:
        """Offer a place; several stand in a list beside the viewer.

        Parameters
        ----------
        layers : sequence of Layer
        title : str
            What the list says of it.
        roi : Roi, optional
            What to look at, in nm.

        Returns
        -------
        neuroglancer.ViewerState
            Its sources begin with ``{origin}`` where they are served here: the address that a browser used.

        Raises
        ------
        InvalidArgumentError
            If there is no layer.
        """
        state = state_of(layers, self._source, roi=roi, title=title)
        name = self._offer(title, state.to_json)
        self.states[name] = state
        return state

    def add_later(self, title: str, opened: Callable[[], Scene]) -> None:
        """Offer a place whose layers are opened when somebody looks at it first.

        Parameters
        ----------
        title : str
            What the list says of it.
        opened : callable
            Returns what is there.
        """
        lock = threading.Lock()

        def state() -> Mapping[str, Any]:
            with lock:
                if self.states[name] is None:
                    scene = opened()
                    self.server.add_spots(name, [_spot_of(spot) for spot in scene.spots])
                    self.states[name] = state_of(
                        scene.layers, self._source, roi=scene.roi, panes=scene.panes, title=title
                    )
            found: Mapping[str, Any] = self.states[name].to_json()
            return found

        name = self._offer(title, state)
        self.states[name] = None

    def restore(self, path: str | os.PathLike[str]) -> str:
        """Begin as in a file that the viewer downloaded behind its ``{}``, in this or an earlier run; see `restored`.

        Returns
        -------
        str
            The name of the place that it was saved at; the first where there is none of its title.

        Raises
        ------
        UnreadableDataError
            If it cannot be read, or holds something else.
        """
        saved = read_saved(path)
        self.server.change_states(lambda state: restored(state, saved))
        return next((name for name, title in self._titles.items() if title == saved.get("title")), "0")

    def link(self, name: str) -> str:
        """Return the link to one place, without the list."""
        return f"{self.url}v/view/#!{quote(self.server.state_text(name, self.server.origin))}"

    def close(self) -> None:
        """End it."""
        self.server.close()

    def __enter__(self) -> View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _repr_html_(self) -> str:
        """Show it in a notebook."""
        return f'<iframe src="{html.escape(self.url)}" style="width: 100%; height: 600px; border: 0"></iframe>'

    def _offer(self, title: str, state: Callable[[], Mapping[str, Any]]) -> str:
        name = f"{len(self._titles)}"
        self._titles[name] = title
        self.server.add_state(name, title or name, state)
        return name

    def _source(self, layer: Layer) -> str:
        """Return where the viewer finds a layer: in its bucket, or here, once for all places that it stands in."""
        key = id(layer.volume)
        if key not in self._sources:
            source = direct_source(layer.volume)
            if source is None:
                source = self.server.add_volume(ServedVolume(layer.name, levels_to_show(layer)))
            self._sources[key] = layer, source  # the layer is kept, so its id is not given anew
        return self._sources[key][1]


def _spot_of(spot: Spot) -> dict[str, Any]:
    """Return what of a viewer's state changes when somebody goes there."""
    position, scale = looking_at(spot.roi)
    return {"title": spot.title, "position": position, "crossSectionScale": scale}


def show(
    layers: Sequence[Layer], *, roi: Roi | None = None, bind: str = "127.0.0.1", port: int = 0, title: str = ""
) -> View:
    """Serve some layers to browsers on this machine; a notebook shows them where the call is the last of a cell.

    Parameters
    ----------
    layers : sequence of Layer
        See `csc_data.view.open_layer` and `csc_data.view.array_layer`.
    roi : Roi, optional
        What to look at, in nm; the extent of the last visible layer by default.
    bind, port
        See `View`.
    title : str
        Of the place.

    Raises
    ------
    InvalidArgumentError
        If there is no layer, or the server cannot listen.

    Examples
    --------
    >>> import numpy as np
    >>> from csc_data.view import array_layer, show
    >>> raw = array_layer(np.zeros((8, 8, 8), "u1"), "raw", "raw", voxel_size=(8, 8, 8))
    >>> with show([raw]) as view:
    ...     view.url.startswith("http://127.0.0.1:")
    True
    """
    view = View(bind, port)
    try:
        view.add(layers, roi=roi, title=title)
    except BaseException:
        view.close()
        raise
    return view
