"""What computes a version's answers: one file, one runtime."""
