# corsproxy as a container: one process, no root, no shell needed, the root file system may be read-only.
#
#   docker build -t corsproxy .
#   docker run --read-only --cap-drop ALL -v "$PWD/conf:/etc/corsproxy:ro" -p 8080:8080 corsproxy
#
# The configuration is /etc/corsproxy/corsproxy.yaml; mount the directory, not the file, so that an editor's
# "write new, rename" reaches the container. In it, `listen` is 0.0.0.0:8080: 127.0.0.1 would be the container's
# own loopback, which published ports do not reach. `admin` stays on loopback unless another container probes it.

ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS builder

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore

WORKDIR /build
COPY pyproject.toml README.md LICENSE ./
COPY corsproxy ./corsproxy

# The environment has no pip: nothing in it can install anything later. Only wheels: no compiler is looked for.
RUN python -m pip wheel --no-deps --wheel-dir dist . \
    && python -m venv --without-pip /opt/corsproxy \
    && python -m pip --python /opt/corsproxy/bin/python install --only-binary :all: --no-compile dist/*.whl

# Byte-code is made here, once: on a read-only root every start would compile again, half a second of it. It is not
# checked against the sources' times, which copying between stages or a registry may change.
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/corsproxy/lib

FROM ${PYTHON_IMAGE}

LABEL org.opencontainers.image.title="corsproxy" \
      org.opencontainers.image.description="A reverse proxy that puts a correct, explainable CORS policy in front of an API that has none." \
      org.opencontainers.image.licenses="MIT"

# Official images come without the byte-code of the standard library: the same again for what a proxy imports of it.
RUN python -m compileall -q --invalidation-mode unchecked-hash -x 'site-packages|ensurepip|idlelib|turtledemo' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

COPY --from=builder /opt/corsproxy /opt/corsproxy

ENV PATH=/opt/corsproxy/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1

# A number, so that Kubernetes' runAsNonRoot can see that it is not root. It owns nothing and writes nothing.
USER 10001:10001
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["corsproxy", "healthcheck"]
ENTRYPOINT ["corsproxy"]
CMD ["run"]
