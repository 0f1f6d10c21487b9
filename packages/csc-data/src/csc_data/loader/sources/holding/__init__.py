"""What is held of raw and labels in memory, for a process and its workers together."""
