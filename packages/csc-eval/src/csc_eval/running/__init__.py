"""Scoring many labels: what there is to score, in which order and memory, here or elsewhere, what is done."""
