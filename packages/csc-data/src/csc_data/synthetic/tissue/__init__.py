"""Tissue made of shapes: cells with their organelles, drawn into one volume of labels."""
