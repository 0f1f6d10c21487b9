"""Links to the public viewer: their state holds all, and data come from the bucket."""

from __future__ import annotations

from collections.abc import Callable

from csc_cli.commands.visualize.finding import ShownCrop
from csc_data.view import Scene
from csc_data.view.remote import direct_source, viewer_url
from csc_data.view.saved import read_saved, restored
from csc_data.view.state import state_of


def public_link(crop: ShownCrop, scene: Scene, tell: Callable[[str], None], saved: str | None = None) -> str | None:
    """Return the link to a crop in the public viewer, or None where the viewer reads nothing of it.

    Parameters
    ----------
    crop : ShownCrop
    scene : Scene
        What is shown of it.
    tell : callable
        Called with a line about the layers that are left out.
    saved : str, optional
        File with the state to begin in.
    """
    sources = {layer.name: direct_source(layer.volume) for layer in scene.layers}
    left_out = [name for name, source in sources.items() if source is None]
    if left_out:
        tell(f"{crop.label}: not in the bucket as the viewer reads it, and so left out: {', '.join(left_out)}")
    layers = [layer for layer in scene.layers if sources[layer.name] is not None]
    if not layers:
        return None
    panes = [[name for name in pane if sources[name] is not None] for pane in scene.panes]
    state = state_of(layers, lambda layer: sources[layer.name] or "", roi=scene.roi, panes=panes, title=crop.label)
    return viewer_url(state.to_json() if saved is None else restored(state.to_json(), read_saved(saved)))
