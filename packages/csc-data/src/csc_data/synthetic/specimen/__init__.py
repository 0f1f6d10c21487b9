"""Tissue of any size for pretraining: each box is a function of the seed and its place alone."""
