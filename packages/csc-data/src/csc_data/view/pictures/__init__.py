"""Pictures of what a browser draws (extra ``screenshot``)."""
