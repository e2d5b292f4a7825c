"""The peer of bench/serving.py: what one writes around a SavedModel in an afternoon.

python bench/serving_fastapi.py <exported folder> <port>
"""

import sys

import numpy as np
import tensorflow as tf
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

loaded = tf.saved_model.load(sys.argv[1])
signature = loaded.signatures["serving_default"]
app = FastAPI()


class Body(BaseModel):
    instances: list[list[list[float]]]


@app.post("/v1/models/digits:predict")
async def predict(body: Body) -> dict[str, list[dict[str, object]]]:
    answer = signature(image=tf.constant(np.array(body.instances, dtype=np.float32)))
    labels, shares = answer["label"].numpy().tolist(), answer["probabilities"].numpy().tolist()
    rows = zip(labels, shares, strict=True)
    return {"predictions": [{"label": label, "probabilities": share} for label, share in rows]}


@app.get("/readyz")
async def ready() -> str:
    return "ok"


uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", access_log=False, backlog=4096)
