"""Pretraining on raw that nobody annotated: parts of it are masked, and a network says what is there."""
