"""Whole transformers on the core's attention, in NumPy: tokens in; vectors, attention maps or more tokens out.

Read a model's files (`files.read_model`), load them (`loading.load`), and use the model that comes back: an encoder
embeds and encodes, a decoder and an encoder-decoder continue streams step by step (`stepping`). Nothing here knows of
the network.
"""
