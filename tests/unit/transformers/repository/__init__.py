"""Folders of models that are served while they change."""
