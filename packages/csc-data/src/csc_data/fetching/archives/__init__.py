"""The organisers' zips of everything: fetched by ranges, and unpacked without being trusted."""
