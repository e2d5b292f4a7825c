"""The sections of a pipeline file: frozen values that say what its keys mean."""
