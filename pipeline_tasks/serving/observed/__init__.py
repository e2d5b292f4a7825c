"""What is kept of production: the prediction log and the labels."""
