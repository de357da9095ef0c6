"""The deployment, tried as people use it: the image is built, compose brings it up, and replicas die under load.

`python -m compose_test` (`make compose-test`) uses the container engine that is there. On a bare machine it starts one,
in namespaces of its own, from packages of apt and PyPI.
"""
