"""Pure functions: numbers in, a Verdict with its reasons out."""
