"""Where the voxels of a patch lie in a volume: its size, its place, and how it is turned, scaled and bent."""
