#!/usr/bin/env bash
# Linters, type checker and the whole test suite, in an environment made on first use.
# MODIST_VENV names the environment (default .venv); arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${MODIST_VENV:-.venv}"
if ! [ -x "$venv/bin/python" ]; then
  echo "making the environment $venv"
  "${PYTHON:-python3}" -m venv "$venv"
fi
if ! "$venv/bin/python" -c 'import torchvision, pyarrow, modist_det, pytest_timeout, hypothesis, mypy, selenium, importlinter' 2>/dev/null; then
  echo "installing modist_det and its test tools into $venv"
  "$venv/bin/python" -m pip install --quiet --editable '.[dev]'
fi
# Warnings go by; a finding ends the script.
"$venv/bin/python" -m ruff check .
"$venv/bin/python" -m ruff format --check .
"$venv/bin/python" -m mypy
"$venv/bin/lint-imports"
exec "$venv/bin/python" -m pytest "$@"
