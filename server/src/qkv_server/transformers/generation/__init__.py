"""Answers that come piece by piece: requests, the engine that batches their streams, and what tasks ask of it."""
