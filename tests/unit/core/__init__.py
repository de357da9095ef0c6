"""Tests of the attention core."""
