"""The peer: a plain Keras script on MNIST. Usage: mnist_bare.py mnist.npz EPOCHS"""

import sys

import keras
import numpy as np

with np.load(sys.argv[1]) as kept:
    images, labels = kept["x_train"].astype("float32") / 255, kept["y_train"]

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
history = model.fit(
    images[:50_000],
    labels[:50_000],
    validation_data=(images[50_000:], labels[50_000:]),
    epochs=int(sys.argv[2]),
    batch_size=32,
    verbose=2,
)
print("validation accuracy", history.history["val_accuracy"][-1])
