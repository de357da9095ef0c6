"""The server of qkv: attention as a service.

Arrows run one way: transport → service → core, and service → transformers → core. `core` is pure NumPy and imports
nothing else of the project.
"""
