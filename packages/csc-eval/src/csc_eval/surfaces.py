"""Surface distances of matched instances."""
