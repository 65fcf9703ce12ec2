#!/usr/bin/env bash
# Generates the Python code of the contract into clients/python (or into $1, for the check that it is up to date).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-clients/python}
mkdir -p "$out"
"${PYTHON:-.venv/bin/python}" -m grpc_tools.protoc -I protos \
  --python_out="$out" --pyi_out="$out" --grpc_python_out="$out" protos/mailroom/v1/mailroom.proto
