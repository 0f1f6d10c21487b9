"""The words for what is shown of a crop."""

KINDS = ("gt", "predictions", "processed", "submission")
"""As the command takes them, in the order in which they are listed."""

TITLES = {"gt": "truth", "predictions": "predictions", "processed": "processed", "submission": "submission"}
"""As people read them."""
