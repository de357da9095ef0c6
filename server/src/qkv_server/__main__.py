"""`python -m qkv_server` is the command `qkv-server`."""

from qkv_server.command import main

main(prog_name="qkv-server")
