"""Instances of a label volume: components, overlaps, matching, distances."""
