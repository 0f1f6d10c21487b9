"""Annotated crops: finding them, counting their classes, and choosing which of them train and which validate."""
