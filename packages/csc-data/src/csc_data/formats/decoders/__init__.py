"""Decoding that does not wait for an import of numcodecs, and reading that keeps nothing."""
