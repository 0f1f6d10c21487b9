"""The error of exports."""

from __future__ import annotations

from csc_models.errors import ModelError


class ExportError(ModelError):
    """A network cannot be exported to a format, or the exported file does not give the network's outputs."""
