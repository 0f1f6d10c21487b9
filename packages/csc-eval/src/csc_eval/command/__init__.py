"""The command ``csc-eval``: options in, one call, words out."""
