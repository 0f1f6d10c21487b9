"""Packing a submission: every class of every test crop on its grid, then a zip."""
