"""What is done to columns before a model sees them: one file, one kind of feature or outlier rule.

A feature has `Params` with `of`, the columns it is made of, `TAKES`, their types, `learn` and
`apply`; an outlier rule has `Params`, `learn`, the bounds between which values are clipped, and
`keep`, the training rows that are trained on. `learn` sees training rows only, cleaned; `apply` is
part of the exported graph and uses TensorFlow's own operations alone.
"""
