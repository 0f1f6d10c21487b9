"""Scores of a class in memory: what is read, how it is divided, and the tables that scores come from."""
