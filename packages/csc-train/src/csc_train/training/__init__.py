"""Training: loaders, losses, the loop over epochs, and what a run leaves on disk."""
