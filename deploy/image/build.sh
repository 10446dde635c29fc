#!/usr/bin/env bash
# Build the image, with docker or podman where one runs, else with buildah alone, and say what it adds to its base.
#
#   deploy/image/build.sh            the image `corsproxy`, and the same as an archive: .cache/image/corsproxy.tar
#
#   ENGINE         docker, podman or buildah; default: the first that works here
#   PYTHON_IMAGE   the base; default: the Dockerfile's, but one made here (base.sh) where no registry is at hand (buildah)
#   REQUIREMENTS   what is installed; default: requirements.txt. otel-requirements.txt has OpenTelemetry, too
#   PYTHON         whose pip knows this machine's configuration; default: python3
#   ARCHIVE        where the archive goes; `docker load -i` reads it
#
# pip gets this machine's configuration and certificates as secrets of the build: they are mounted, never in a layer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

ARCHIVE=${ARCHIVE:-.cache/image/corsproxy.tar}

main() {
  ENGINE=${ENGINE:-$(first_engine)}
  mkdir -p "$(dirname "$ARCHIVE")"
  secrets=$(mktemp -d)
  trap 'rm -rf "$secrets"' EXIT
  "${PYTHON:-python3}" deploy/image/pip_secrets.py "$secrets"

  if [[ $ENGINE == buildah ]]; then
    # No daemon, no kernel features beyond chroot: it works wherever root does, in a container too.
    export STORAGE_DRIVER=${STORAGE_DRIVER:-vfs} BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}
    if [[ -z ${PYTHON_IMAGE:-} ]]; then
      PYTHON_IMAGE=localhost/corsproxy-base
      buildah inspect --type image "$PYTHON_IMAGE" &>/dev/null || deploy/image/base.sh "$PYTHON_IMAGE"
    fi
  fi
  PYTHON_IMAGE=${PYTHON_IMAGE:-$(sed -n 's/^ARG PYTHON_IMAGE=//p' Dockerfile)}

  local replaced
  replaced=$([[ $ENGINE != buildah ]] || buildah images --quiet corsproxy 2>/dev/null || true)
  build
  if [[ -n $replaced && $replaced != "$(buildah images --quiet corsproxy)" ]]; then
    buildah rmi "$replaced" >/dev/null # nothing is shared between images here: each one left behind is a whole one
  fi
  rm -f "$ARCHIVE" # buildah would not replace it
  archive
  say_size
}

first_engine() {
  local engine
  for engine in docker podman; do
    if "$engine" info &>/dev/null; then
      echo "$engine"
      return
    fi
  done
  if ((EUID == 0)) && command -v buildah >/dev/null; then
    echo buildah
    return
  fi
  echo "no docker or podman runs here; as root on Debian: apt-get install buildah debootstrap" >&2
  return 1
}

build() {
  local arguments=(--build-arg "PYTHON_IMAGE=$PYTHON_IMAGE" --tag corsproxy) secret
  arguments+=(--build-arg "REQUIREMENTS=${REQUIREMENTS:-requirements.txt}")
  for secret in "$secrets"/*; do
    arguments+=(--secret "id=${secret##*/},src=$secret")
  done
  case $ENGINE in
    docker) DOCKER_BUILDKIT=1 docker build "${arguments[@]}" . ;;
    # The image format of OCI has no health check: podman and buildah are asked for Docker's.
    podman) podman build --format docker "${arguments[@]}" . ;;
    buildah) buildah build --format docker --quiet --pull-never "${arguments[@]}" . ;;
  esac
}

archive() {
  case $ENGINE in
    docker) docker save --output "$ARCHIVE" corsproxy ;;
    podman) podman save --format docker-archive --output "$ARCHIVE" corsproxy ;;
    buildah) buildah push --quiet corsproxy "docker-archive:$ARCHIVE:corsproxy:latest" ;;
  esac
}

say_size() {
  local base image
  base=$(bytes_of "$PYTHON_IMAGE")
  image=$(bytes_of corsproxy)
  awk -v image="$image" -v base="$base" -v name="$PYTHON_IMAGE" -v archive="$ARCHIVE" 'BEGIN {
    printf "corsproxy: %.1f MB beyond %s (%.1f MB); %s\n", (image - base) / 1e6, name, base / 1e6, archive
  }'
}

bytes_of() {
  if [[ $ENGINE != buildah ]]; then
    "$ENGINE" image inspect --format '{{.Size}}' "$1"
    return
  fi
  local container
  container=$(buildah from --pull-never "$1")
  du --summarize --bytes "$(buildah mount "$container")" | cut -f1
  buildah rm "$container" >/dev/null
}

main
