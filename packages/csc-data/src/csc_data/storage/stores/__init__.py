"""Read-only files by keys, with limits: folders, URLs, zips in place, and the submissions that lie in them."""
