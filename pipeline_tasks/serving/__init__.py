"""The model server: a process of its own."""
