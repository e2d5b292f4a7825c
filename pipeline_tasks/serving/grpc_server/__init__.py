"""TensorFlow Serving's gRPC services and the standard health service, beside REST."""
