"""The command `qkv`: one module for each subcommand."""
