"""The ``csc`` command: options in, one call of a library, words out.

Command modules import click at the top and their library inside the call, so that ``csc --help`` is quick.
"""

__all__ = ["main"]
__version__ = "0.2.0"

from csc_cli.main import main
