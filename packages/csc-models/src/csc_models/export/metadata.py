"""What an exported file says about itself, as JSON under one key, whatever the format."""

from __future__ import annotations

import json
from collections.abc import Sequence

from csc_models.export.exportable import Exportable

METADATA_KEY = "csc-models"


def metadata_text(source: Exportable, dynamic_axes: Sequence[str]) -> str:
    """Describe an exported network, in JSON.

    Parameters
    ----------
    source : Exportable
        The network.
    dynamic_axes : sequence of str
        Axes of the input whose size is free: "batch", "z", "y", "x".

    Returns
    -------
    str
        ``raw_range`` is what the ends of the raw data's range (0 and 255 for uint8) have to be mapped to
        before the network sees them; the file does not do that itself. ``input_sizes`` holds for the free spatial axes:
        the minimum plus multiples of the step, in voxels. Outputs are those of the network: logits, unless it was
        trained for something else, such as distances.
    """
    plain = {
        **source.description.to_plain(),
        "input_axes": ["batch", "channel", *source.axes],
        "input_shape": list(source.example),
        "dynamic_axes": list(dynamic_axes),
        "input_sizes": {"minimum": source.smallest, "step": source.unit},
        "output_scale_factor": source.output.scale_factor,
        "output_lost": source.output.lost,
        "output_values": "as the network gives them",
    }
    return json.dumps(plain)
