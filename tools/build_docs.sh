#!/usr/bin/env bash
# The documentation as web pages in site/: the Markdown pages and the API reference. A broken reference ends it.
# The environment is that of tools/run_tests.sh, made on first use; MODIST_VENV names it (default .venv).
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${MODIST_VENV:-.venv}"
if ! "$venv/bin/python" -c 'import torchvision, pyarrow, modist_det, sphinx, myst_parser, furo' 2>/dev/null; then
  echo "installing modist_det and sphinx into $venv"
  [ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --editable '.[docs]'
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
"$venv/bin/python" -W ignore -m sphinx --quiet --fail-on-warning --fresh-env --builder html --conf-dir docs . site
cp site/README.html site/index.html
echo "wrote site/index.html"
