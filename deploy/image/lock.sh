#!/usr/bin/env bash
# Pin, with hashes, what the image installs and what builds it, for Linux, macOS and every Python that we support.
#
#   deploy/image/lock.sh [FOLDER]      default: this one. UPGRADE=1 takes the newest versions instead of the locked ones.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
folder=${1:-deploy/image}

lock() {
  "${UV:-uv}" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
    ${UPGRADE:+--upgrade} --output-file "$folder/$1" "${@:2}" >/dev/null
}

lock requirements.txt pyproject.toml
# The same versions, and what OpenTelemetry adds.
lock otel-requirements.txt pyproject.toml --extra otel --constraints "$folder/requirements.txt"
# What pyproject.toml names under [build-system].
"${PYTHON:-python3}" -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' |
  lock build-requirements.txt -
