"""The model server: a process of its own that speaks TensorFlow Serving's REST protocol."""
