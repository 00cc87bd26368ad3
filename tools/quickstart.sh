#!/usr/bin/env bash
# From nothing to an action detector: environment, generated data, pretraining without labels, training, official mAP,
# pictures and an annotated video.
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

step "data: datasets/puppets_actions (single actions), datasets/puppets (scenes)"
"$python" datasets/prepare_puppets.py --preset actions
"$python" datasets/prepare_puppets.py --preset scenes
"$python" datasets/prepare_ava.py check datasets/puppets/train.yaml

step "motion maps: $output/motion"
"$python" tools/extract_motion.py puppets_actions_train --short-side 96 --out "$output/motion"

step "MoDist pretraining without labels: $output/pretraining"
"$python" tools/run_net.py --cfg configs/Puppets/MoDist_R18.yaml --resume OUTPUT_DIR "$output/pretraining" \
  MOTION.CACHE "$output/motion" DATALOADER.FRAME_CACHE "$output/frames" SOLVER.MAX_EPOCH 15

step "training a detector from it: $output/detection"
"$python" tools/run_net.py --cfg configs/Puppets/MoDist_R18_detection.yaml --resume OUTPUT_DIR "$output/detection" \
  DATALOADER.FRAME_CACHE "$output/frames" \
  MODEL.WEIGHTS "$output/pretraining/checkpoints/$(cat "$output/pretraining/checkpoints/last_checkpoint")"

step "official AVA mAP of its detections"
"$python" tools/evaluate_ava.py -l datasets/puppets/label_map.pbtxt -g datasets/puppets/val.csv \
  -d "$output/detection/inference/puppets_val_detections.csv" --json "$output/ava_map.json"

step "picture: $output/detections.png"
"$python" tools/draw_detections.py --data datasets/puppets/val.yaml \
  --detections "$output/detection/inference/puppets_val_detections.csv" --out "$output/detections.png"

step "annotated video: $output/demo/val_0000.mp4"
"$python" tools/demo.py datasets/puppets/videos/val_0000.mp4 --checkpoint "$output/detection" \
  --persons datasets/puppets/tracks_val.json --out "$output/demo"

step "done: figures in $output/ava_map.json, pictures in $output/detections.png and $output/demo/val_0000.png, video in $output/demo"
