"""The sliding window: where patches lie in a region, what the network says there, and how that is blended."""
