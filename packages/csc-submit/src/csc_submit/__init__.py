"""Post-processing, packing and checking of CellMap Segmentation Challenge submissions, without torch."""

__all__: list[str] = []
