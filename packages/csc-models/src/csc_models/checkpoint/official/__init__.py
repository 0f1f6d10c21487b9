"""What the challenge's own toolbox leaves: bare state dicts, and TensorBoard logs that say which is best."""
