"""TensorFlow Serving's messages and services, without TensorFlow itself.

Their modules lie in the package `tensorflow`, which costs seconds and hundreds of MB to import; an
empty package stands in for it while they are imported.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType


@contextmanager
def _without_tensorflow() -> Iterator[None]:
    """Its submodules can be imported, but nothing of it runs; not while threads import it."""
    if "tensorflow" in sys.modules:
        yield
        return
    spec = find_spec("tensorflow")
    package = ModuleType("tensorflow")
    package.__path__ = list(spec.submodule_search_locations or []) if spec else []
    sys.modules["tensorflow"] = package
    try:
        yield
    finally:
        del sys.modules["tensorflow"]


with _without_tensorflow():
    from tensorflow.core.example.example_pb2 import Example
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow.core.framework.types_pb2 import DataType
    from tensorflow.core.protobuf.error_codes_pb2 import Code
    from tensorflow_serving.apis import (
        classification_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        inference_pb2,
        input_pb2,
        model_management_pb2,
        model_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
        regression_pb2,
    )
    from tensorflow_serving.config import model_server_config_pb2

__all__ = [
    "Code",
    "DataType",
    "Example",
    "TensorProto",
    "classification_pb2",
    "get_model_metadata_pb2",
    "get_model_status_pb2",
    "inference_pb2",
    "input_pb2",
    "model_management_pb2",
    "model_pb2",
    "model_server_config_pb2",
    "model_service_pb2_grpc",
    "predict_pb2",
    "prediction_service_pb2_grpc",
    "regression_pb2",
]
