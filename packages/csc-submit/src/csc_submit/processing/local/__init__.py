"""What is done to each block by itself."""
