"""Answers that come piece by piece: requests, the engine that batches their streams, and long texts in parts."""
