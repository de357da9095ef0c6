"""Tests of whole transformers: their parts, families, files, and generation."""
