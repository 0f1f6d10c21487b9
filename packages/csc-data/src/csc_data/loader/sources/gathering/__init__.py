"""Compiled loops that fill patches: raw interpolated, labels by nearest neighbour, at the positions of a map."""
