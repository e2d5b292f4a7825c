"""Values, errors, the artifact store: standard library and pydantic only."""
