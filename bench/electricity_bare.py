"""The peer: the electricity model as a bare script. Usage: electricity_bare.py CSV EXPORT_FOLDER"""

import sys

import keras
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

rows = pd.read_csv(sys.argv[1]).drop_duplicates().sample(frac=1, random_state=7)
inputs, labels = rows.drop(columns="class").to_numpy("float32"), rows["class"].to_numpy()
validation, test = int(0.7 * len(rows)), int(0.85 * len(rows))

model = keras.Sequential(
    [
        keras.layers.Normalization(),
        keras.layers.Dense(64, "relu"),
        keras.layers.Dense(32, "relu"),
        keras.layers.Dense(1, "sigmoid"),
    ]
)
model.layers[0].adapt(inputs[:validation])
model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
model.fit(
    inputs[:validation],
    labels[:validation],
    validation_data=(inputs[validation:test], labels[validation:test]),
    epochs=5,
    batch_size=256,
    verbose=2,
)
answers = (model.predict(inputs[test:], verbose=0)[:, 0] > 0.5).astype(int)
for score in (accuracy_score, precision_score, recall_score, f1_score):
    print(score.__name__, score(labels[test:], answers))
model.export(sys.argv[2])
