"""A prediction on the grid of the crop that it is scored in."""
