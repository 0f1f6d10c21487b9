"""``csc fetch-data``: the challenge's data, from its bucket into the data folder."""
