"""Families of architectures: each builds models of its own from what their files say."""
