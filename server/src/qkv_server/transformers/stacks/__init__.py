"""Layers in order: encoders, decoders and encoder-decoders, and how each kind is driven."""
