"""Many submissions of one truth: from a list, or as they land in a folder, and their ranking."""
