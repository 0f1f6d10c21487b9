"""The steps of post-processing: what there is, how much context each needs, and lists of them from settings."""
