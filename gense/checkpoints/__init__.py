"""Weights: names, files, formats and conversion."""
