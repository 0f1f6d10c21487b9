"""Stored label volumes, read box by box without trusting them, and what is left of them: runs."""
