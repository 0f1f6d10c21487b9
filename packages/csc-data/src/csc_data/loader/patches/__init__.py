"""Patches of crops: read at one place and pose, drawn for training, or laid as tiles for validation."""
