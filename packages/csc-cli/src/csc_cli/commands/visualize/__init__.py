"""``csc visualize``: raw, annotations and results in a browser."""
