#!/usr/bin/env bash
# From nothing to an action detector: environment, generated data, training, official mAP, a picture.
# Can be stopped and started again; finished parts are not repeated. MODIST_VENV names the environment (default .venv).
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${MODIST_VENV:-.venv}"
output=output/quickstart

step() { printf '\n== %s ==\n' "$*"; }

if ! "$venv/bin/python" -c 'import modist_det, torchvision, av' 2>/dev/null; then
  step "environment $venv"
  [ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --editable .
fi
python="$venv/bin/python"

step "data: datasets/puppets"
"$python" datasets/prepare_puppets.py

step "checking the data"
"$python" datasets/prepare_ava.py check datasets/puppets/train.yaml

step "training a detector: $output"
"$python" tools/run_net.py --cfg configs/Puppets/Slow_R18.yaml --resume OUTPUT_DIR "$output"

step "official AVA mAP of its detections"
"$python" tools/evaluate_ava.py -l datasets/puppets/label_map.pbtxt -g datasets/puppets/val.csv \
  -d "$output/inference/puppets_val_detections.csv" --json "$output/ava_map.json"

step "picture: $output/detections.png"
"$python" tools/draw_detections.py --data datasets/puppets/val.yaml \
  --detections "$output/inference/puppets_val_detections.csv" --out "$output/detections.png"

step "done: figures in $output/ava_map.json, picture in $output/detections.png"
