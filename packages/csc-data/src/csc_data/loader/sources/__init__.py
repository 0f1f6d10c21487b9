"""What patches are gathered from: the raw and the labels of a crop, what is held of them, and the loops that gather."""
