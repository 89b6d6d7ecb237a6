#!/usr/bin/env bash
# Gradescope runs this once, when it builds the autograder: Python 3.11 or later, NumPy, and the judge.
set -euo pipefail
SOURCE="${SOURCE:-/autograder/source}"
HOME_OF_PYTHON="${HOME_OF_PYTHON:-/opt/conformance}"

new_enough() {
  command -v "$1" >/dev/null && "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

found=""
for name in "${PYTHON:-python3}" python3.13 python3.12 python3.11; do
  if new_enough "$name"; then found="$name"; break; fi
done
if [ -z "$found" ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update
  apt-get install -y python3 python3-pip python3-venv
  new_enough python3 && found=python3
fi
if [ -z "$found" ]; then
  apt-get install -y python3.11 python3.11-venv # what Ubuntu 22.04 has beside its own 3.10
  found=python3.11
fi

"$found" -m venv "$HOME_OF_PYTHON" # the system's own Python may not be installed into
PINS="$SOURCE/refbp-src/constraints.txt" # the versions that this was made and tried with
"$HOME_OF_PYTHON/bin/python" -m pip install --quiet --disable-pip-version-check -c "$PINS" numpy "$SOURCE/refbp-src[conformance]" || {
  echo "The versions in $PINS cannot be installed with $("$found" --version). Make the zip anew with a Python like it: conformance grade --package" >&2
  exit 1
}
chmod -R go+rX "$HOME_OF_PYTHON" # the student's file runs as another user,
chmod -R go-rwx "$HOME_OF_PYTHON"/lib/python*/site-packages/{refbp,conformance} # who is to write the procedures
