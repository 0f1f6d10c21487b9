"""``csc models``: the networks, published weights, checkpoints, and export for other programs."""
