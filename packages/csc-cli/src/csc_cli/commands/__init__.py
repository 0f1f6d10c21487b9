"""A module or a folder for each command: click at the top, the library inside the call.

What only one command needs stands with that command; what several share is in `csc_cli.stages`.
"""
