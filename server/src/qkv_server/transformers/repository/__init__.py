"""A folder of models that is served while it changes."""
