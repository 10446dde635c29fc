#!/usr/bin/env bash
# Make a base image without a registry: the smallest Debian that has python3 and pip. Root, buildah, debootstrap.
#
#   deploy/image/base.sh NAME
#
#   SUITE    Debian's release, default bookworm (Python 3.11)
#   MIRROR   where packages come from
set -euo pipefail

name=$1
SUITE=${SUITE:-bookworm}
MIRROR=${MIRROR:-http://deb.debian.org/debian}
export STORAGE_DRIVER=${STORAGE_DRIVER:-vfs}

container=$(buildah from scratch)
log=$(mktemp)
trap 'rm -f "$log"; buildah rm "$container" >/dev/null' EXIT
root=$(buildah mount "$container")

debootstrap --variant=minbase --include=python3,python3-venv,python3-pip "$SUITE" "$root" "$MIRROR" >"$log" || {
  tail -n 20 "$log" >&2
  exit 1
}

# What belongs to this machine or to the installation, not to an image.
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/etc/{resolv.conf,hostname}

buildah commit --quiet --format docker "$container" "$name"
