"""The parts that stacks are made of: each a small object with its weights, called on rows of numbers."""
