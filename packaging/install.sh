#!/bin/sh
# Installs the receiver into a virtual environment of its own: packaging/install.sh FOLDER
# What is installed are the versions of uv.lock, each checked by its hash. Run from anywhere; needs uv (UV=path) and Python.
set -eu
folder=$1
uv=${UV:-uv}
cd "$(dirname "$0")/.."
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
"$uv" export --quiet --frozen --no-default-groups --extra edge --no-emit-project --output-file "$made/requirements.txt"
"$uv" build --quiet --wheel --out-dir "$made"
"$uv" venv --quiet "$folder"
"$uv" pip install --quiet --python "$folder/bin/python" --require-hashes --requirements "$made/requirements.txt"
"$uv" pip install --quiet --python "$folder/bin/python" --no-deps "$made"/*.whl
