"""``csc doctor``: whether all is there that is needed, and the command that brings what is not."""
