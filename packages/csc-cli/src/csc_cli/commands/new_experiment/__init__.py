"""``csc new-experiment``: the folder of an experiment."""
