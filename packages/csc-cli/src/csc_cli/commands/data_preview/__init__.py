"""``csc data-preview``: a figure of samples, a table of where they lie, and links that show the places in a viewer."""
