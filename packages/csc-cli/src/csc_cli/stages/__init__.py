"""What several commands, the demo among them, say and do about one stage of the path."""
