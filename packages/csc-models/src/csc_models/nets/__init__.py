"""The networks, one module per family; each has a tuple ``SPECS`` that the catalogue collects."""
