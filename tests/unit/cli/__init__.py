"""The command `qkv`, run in this process against a running server."""
