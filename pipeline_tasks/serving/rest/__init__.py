"""TensorFlow Serving's REST protocol: routes, and JSON in and out."""
