# corsproxy as a container: one process, no root, no shell needed, the root file system may be read-only.
#
#   docker build -t corsproxy .
#   mkdir conf && corsproxy init conf/corsproxy.yaml
#   docker run --read-only --cap-drop ALL -v "$PWD/conf:/etc/corsproxy:ro" -p 8080:8080 corsproxy
#
# The configuration is /etc/corsproxy/corsproxy.yaml; mount the directory, not the file, so that an editor's
# "write new, rename" reaches the container. In it, `listen` is 0.0.0.0:8080: 127.0.0.1 would be the container's
# own loopback, which published ports do not reach. `admin` stays on loopback unless another container probes it.
#
# Behind a mirror or a proxy that ends TLS, give pip its configuration for the build only; no layer keeps it:
#
#   docker build --secret id=pip,src=$HOME/.config/pip/pip.conf --secret id=ca,src=/etc/ssl/certs/ca-certificates.crt .
#
# (`cert = /run/secrets/ca` in that file.) With OpenTelemetry: --build-arg REQUIREMENTS=otel-requirements.txt. Without Docker: `make image`, see docs/deploy.md.

# Any image whose python3 is 3.11 or newer and has pip.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS builder

# `strip`, in this stage alone.
# hadolint ignore=DL3008
RUN apt-get update -qq \
    && apt-get install -qq --yes --no-install-recommends binutils

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore

# What runs in it; otel-requirements.txt has OpenTelemetry, too.
ARG REQUIREMENTS=requirements.txt

WORKDIR /build
COPY deploy/image/*.txt ./

# What runs and what builds it, as locked: every file has the hash that it had when the lock was made. Only wheels,
# so no compiler is looked for and no code of theirs runs here. Neither environment has pip: in the one that is
# shipped, nothing can install anything later.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    python3 -m venv --without-pip /opt/corsproxy \
    && python3 -m venv --without-pip /build/tools \
    && python3 -m pip --python /opt/corsproxy/bin/python install \
        --no-compile --only-binary :all: --require-hashes -r "${REQUIREMENTS}" \
    && python3 -m pip --python /build/tools/bin/python install \
        --no-compile --only-binary :all: --require-hashes -r build-requirements.txt

COPY pyproject.toml README.md LICENSE ./
COPY corsproxy ./corsproxy

RUN python3 -m pip --python /build/tools/bin/python wheel --no-deps --no-index --no-build-isolation --wheel-dir dist . \
    && python3 -m pip --python /opt/corsproxy/bin/python install --no-compile --no-deps --no-index dist/*.whl

# What only a compiler, a debugger or a type checker reads, activation scripts and the libraries' own commands stay
# behind: symbols alone are 20 MB of 45. Licences go along.
#
# Byte-code is made here, once: on a read-only root every start would compile again, half a second of it. It is not
# checked against the sources' times, which copying between stages or a registry may change.
RUN find /opt/corsproxy -type f \
        \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.pyi' -o -name '*.[ch]' -o -name '*.hash' \) -delete \
    && find /opt/corsproxy -type f -name '*.so' -exec strip --strip-unneeded {} + \
    && find /opt/corsproxy/bin -type f ! -name corsproxy -delete \
    && rm -rf /opt/corsproxy/include \
    && python3 -m compileall -q --invalidation-mode unchecked-hash /opt/corsproxy/lib

FROM ${PYTHON_IMAGE}

LABEL org.opencontainers.image.title="corsproxy" \
      org.opencontainers.image.description="A reverse proxy that puts a correct, explainable CORS policy in front of an API that has none." \
      org.opencontainers.image.licenses="MIT"

# Official images come without the byte-code of the standard library: the same again for what a proxy may import of
# it. Where it is there already, as in Debian's own package, this adds nothing.
RUN python3 -m compileall -q --invalidation-mode unchecked-hash \
        -x '(site|dist)-packages|/(_pyrepl|curses|dbm|distutils|ensurepip|idlelib|lib2to3|pydoc_data|sqlite3|test|tkinter|turtledemo|unittest|venv|wsgiref|xmlrpc)/' \
        "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

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
