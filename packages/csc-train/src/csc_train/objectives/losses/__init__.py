"""Losses: each gives a sum over what is known, and by how much a total has to be divided.

A new one derives from `loss.VoxelLoss` or `loss.PairLoss`; `objectives.criteria` gives it its name.
"""
