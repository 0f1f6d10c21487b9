"""Whether one result is better than another, and how sure a ranking is, given how few crops there are."""
