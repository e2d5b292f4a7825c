"""The peer: a plain Keras script on MNIST. Usage: mnist_bare.py mnist.npz EPOCHS TRAINING_ROWS

It is judged on the training digits left over; when there are none, on the test set.
"""

import sys

import keras
import numpy as np

rows = int(sys.argv[3])
with np.load(sys.argv[1]) as kept:
    images, labels = kept["x_train"].astype("float32") / 255, kept["y_train"]
    unseen = (images[rows:], labels[rows:])
    if rows >= len(images):
        unseen = (kept["x_test"].astype("float32") / 255, kept["y_test"])

model = keras.Sequential(
    [
        keras.Input((28, 28)),
        keras.layers.Flatten(),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dense(10),
    ]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.Adam(0.001), loss, metrics=["accuracy"])
model.fit(
    images[:rows],
    labels[:rows],
    validation_data=unseen,
    epochs=int(sys.argv[2]),
    batch_size=32,
    verbose=2,
)
print("final accuracy", model.evaluate(*unseen, verbose=0)[1])
