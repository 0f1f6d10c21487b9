"""``csc demo``: a small synthetic challenge, and the whole path on it, through the functions behind the commands."""
