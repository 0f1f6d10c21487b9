"""The csc command: the CellMap Segmentation Challenge from data split to score."""

__all__: list[str] = []
