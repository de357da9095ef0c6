"""What `models.py` measures: every system a module with a class `Runner`, in a process of its own.

A runner is made from the paths of the models, and a method of it is one round of a piece of work: it answers how much
was done in a second, and what came of it, so that all can be seen to do the same work. Peers run in environments of
their own, .venv-bench-NAME, with what peers/NAME.txt asks for; only `qkv` may import the packages of this project.
"""
