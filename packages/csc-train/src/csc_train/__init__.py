"""Training and block-wise prediction for the CellMap Segmentation Challenge, from one experiment file."""

__all__: list[str] = []
