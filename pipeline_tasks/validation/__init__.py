"""What is known of a candidate beyond its metrics: intervals, slices, curves, causes, its card."""
