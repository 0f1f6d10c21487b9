"""The official CellMap Segmentation Challenge score, exact and in seconds, without torch."""

__all__: list[str] = []
