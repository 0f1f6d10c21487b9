"""Post-processing of predictions, block by block."""
