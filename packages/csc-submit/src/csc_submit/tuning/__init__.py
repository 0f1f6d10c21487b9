"""Thresholds, sizes and parameters of steps, chosen on the validation crops by the official score."""
