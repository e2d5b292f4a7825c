"""The peer: plain pandas from CSV to Parquet. Usage: preparation_bare.py CSV FOLDER"""

import sys

import pandas as pd

path, folder = sys.argv[1:]
names = pd.read_csv(path, nrows=0).columns
numbers = [name for name in names if name.startswith("number")]
types = {name: "float64" if name in numbers else "str" for name in names} | {"label": "int64"}

rows = pd.read_csv(path, dtype=types).drop_duplicates().sample(frac=1, random_state=7)
validation, test = int(0.7 * len(rows)), int(0.85 * len(rows))
train = rows[:validation]
medians = train[numbers].median()
for name, part in {
    "train": train,
    "validation": rows[validation:test],
    "test": rows[test:],
}.items():
    part.fillna(medians).to_parquet(f"{folder}/{name}.parquet", index=False)
