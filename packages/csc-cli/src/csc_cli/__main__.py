"""``python -m csc_cli``: the ``csc`` command."""

from csc_cli.main import main

main()
