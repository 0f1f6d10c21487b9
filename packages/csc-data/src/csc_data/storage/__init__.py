"""Places and bytes: paths and URLs, buckets, trees of small files, and files that appear whole or not at all."""
