"""Patches gathered in the memory of a device: regions are sent there once, and places are drawn here."""
