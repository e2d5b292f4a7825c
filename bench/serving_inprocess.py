"""The floor of bench/serving.py: one row at a time, no HTTP. Prints CPU microseconds a call.

python bench/serving_inprocess.py <exported folder> litert|tensorflow
"""

import sys
import time
from pathlib import Path

import numpy as np

from pipeline_tasks.serving.versions.model import load

CALLS = 5000

model = load(Path(sys.argv[1]), name="digits", version=1, backend=sys.argv[2])
row = {"image": np.ones((1, 8, 8), np.float32)}
for _ in range(CALLS // 5):
    model.signatures["serving_default"].call(row)
began = time.process_time()
for _ in range(CALLS):
    model.signatures["serving_default"].call(row)
print((time.process_time() - began) / CALLS * 1e6)
