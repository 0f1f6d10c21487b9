"""The challenge's own score on validation crops while a network trains: chosen, put together, scored by csc-eval."""
