"""The verbs of the loop: one file, one function, one task, one box in the graph."""
