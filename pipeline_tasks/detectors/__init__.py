"""Tests for drift: one file, one detector."""
