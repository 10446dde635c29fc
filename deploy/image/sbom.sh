#!/usr/bin/env bash
# Write the bill of materials of what the image installs, as CycloneDX JSON: names, versions, licences, who needs whom.
#
#   deploy/image/sbom.sh FILE
#
# It is read off an installation made by the lock, not off the lock: licences are in the packages.
set -euo pipefail
file=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-python3}

installed=$(mktemp -d)
trap 'rm -rf "$installed"' EXIT
"$python" -m venv --without-pip "$installed"
"$python" -m pip --disable-pip-version-check --python "$installed/bin/python" install --quiet \
  --no-compile --only-binary :all: --require-hashes -r deploy/image/requirements.txt

"${CYCLONEDX:-cyclonedx-py}" environment --pyproject pyproject.toml --mc-type application --spec-version 1.6 \
  --output-reproducible --output-format JSON --output-file "$file" "$installed/bin/python"
