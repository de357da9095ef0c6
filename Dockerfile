FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY constraints.txt ./
COPY client client
COPY server server
# The constraints go through the environment, not -c, so that they also pin what pip installs to build the two
# distributions (hatchling and its dependencies). The venv gets no pip: nothing is installed into it later.
# Both mounts are optional. Without them pip asks its default index. To build without a network, put the wheels
# in .wheels/ and pass a pip.conf that says `no-index = true` and `find-links = /mnt/.wheels` as the secret.
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf --mount=type=bind,target=/mnt \
    python -m venv --without-pip /venv && \
    PIP_CONSTRAINT=/src/constraints.txt PIP_DISABLE_PIP_VERSION_CHECK=1 \
    pip --python /venv/bin/python install --no-cache-dir --no-compile ./client './server[models,web]'
# Test suites, type stubs, headers and static libraries are for those who build on the packages: 12 MB. NumPy's f2py and
# distutils build extensions: 2 MB. pyqwest is the HTTP client of connectrpc, of which we have the server: 16 MB. hf_xet,
# huggingface_hub and what it needs fetch models from a hub, which nothing here does: 24 MB. PyYAML reads without its C part.
RUN find /venv/lib \( -type d \( -name tests -o -name include -o -name f2py -o -name distutils -o -name pyqwest \
    -o -name hf_xet -o -name huggingface_hub -o -name fsspec -o -name 'httpx2*' -o -name 'httpcore2*' \) \
    -o -name '*.pyi' -o -name '*.a' -o -name '_simd.*.so' -o -name '_yaml.*.so' -o -name '_*_tests.*.so' \) -prune -exec rm -rf {} +
# The base image has no bytecode of the standard library, and a read-only root lets no process keep what it compiled:
# every start and every health check would compile again all that it imports (0.8 s of a core instead of 0.3 s).
# So what is used is compiled here (8 MB), by using it: a server, a client, a call. That the call is answered also shows
# that what was stripped above is not missed. The rest would be compiled when it is imported.
RUN export PYTHONPYCACHEPREFIX=/venv/pycache PATH=/venv/bin:$PATH QKV_WEB_ADDRESS=localhost:8080 QKV_MODELS=/tmp && set -e; \
    qkv-server serve & server=$!; \
    until qkv explain >/dev/null; do kill -0 $server; sleep 0.2; done; \
    qkv health; kill $server; wait $server

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="qkv" \
      org.opencontainers.image.description="Attention as a service: an exact NumPy attention core behind gRPC" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /venv /venv
COPY LICENSE /usr/share/doc/qkv/LICENSE
# The one place that the server writes to, when it converts GGUF: a volume, which takes over this folder's owner.
RUN install --directory --owner=10001 --group=10001 /var/cache/qkv
# DONTWRITEBYTECODE: the root may be read-only. UNBUFFERED: logs appear when they are written, also before a crash.
# QKV_MODELS, unset here, names the folder of models: mount one. QKV_ADDRESS is where the server listens, QKV_WEB_ADDRESS where
# it does so for browsers and curl, and QKV_TARGET is what the client (and so the health check) calls.
ENV PATH=/venv/bin:$PATH \
    PYTHONPYCACHEPREFIX=/venv/pycache \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/var/cache \
    QKV_ADDRESS=0.0.0.0:50051 \
    QKV_WEB_ADDRESS=0.0.0.0:8080 \
    QKV_TARGET=localhost:50051
# By number, so that Kubernetes can see that it is not root (runAsNonRoot); it owns no file and needs no home.
USER 10001:10001
EXPOSE 50051 8080
# Readiness: exit code 0 only when the server says SERVING; a draining one says NOT_SERVING.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["qkv", "health"]
# The server drains on SIGTERM: it finishes what it admitted. The exec form makes it process 1, which gets the signal.
STOPSIGNAL SIGTERM
CMD ["qkv-server", "serve"]
