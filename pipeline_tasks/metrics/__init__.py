"""Measures of quality: one file, one metric."""
