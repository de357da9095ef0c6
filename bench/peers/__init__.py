"""The two ends of every system that `call.py` measures, each a module with `serve(port)` and `connect(port)`.

Each peer runs in an environment of its own, .venv-bench-NAME, with what NAME.txt asks for; so only `qkv_call` and
`echo` may import the packages of this project.
"""
