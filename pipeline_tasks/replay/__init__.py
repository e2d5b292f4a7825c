"""A stream of labelled rows, lived through again under one retraining policy after another."""
