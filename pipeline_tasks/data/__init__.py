"""Rows on their way from a source to a model: read, checked, corrected, split, learned from."""
