"""Versions on disk and in memory: found, checked, loaded, warmed, swapped, let go."""
