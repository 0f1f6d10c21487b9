"""Checking a submission that may come from anybody."""
