"""Where a model is deployed: one file, one kind of target."""
