#!/usr/bin/env bash
# From nothing to an action detector: environment, generated data, pretraining without labels, training, official mAP,
# an image of its detections and an annotated video. All of it is cut down to minutes on two CPU cores: a fifth of the videos
# for pretraining, and fewer epochs than the configs have.
# Can be stopped and started again; finished parts are not repeated. MODIST_VENV names the environment (default .venv).
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${MODIST_VENV:-.venv}"
output=output/quickstart

step() { printf '\n== %s ==\n' "$*"; }

if ! "$venv/bin/python" -c 'import modist_det, torchvision, av, pyarrow' 2>/dev/null; then
  step "environment $venv"
  [ -x "$venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --editable .
fi
python="$venv/bin/python"
SECONDS=0

step "data: $output/actions (single actions), datasets/puppets (scenes)"
"$python" datasets/prepare_puppets.py --preset actions --train-videos 480 --val-videos 12 --out "$output/actions"
"$python" datasets/prepare_puppets.py --preset scenes
"$python" datasets/prepare_ava.py check datasets/puppets/train.yaml

step "motion maps: $output/motion"
"$python" tools/extract_motion.py "$output/actions/train.yaml" --short-side 96 --out "$output/motion"

step "MoDist pretraining without labels: $output/pretraining"
"$python" tools/run_net.py --cfg configs/Puppets/MoDist_R18.yaml --resume OUTPUT_DIR "$output/pretraining" \
  DATASETS.TRAIN "['$output/actions/train.yaml']" DATASETS.TEST "[]" DATASETS.GALLERY "[]" \
  MOTION.CACHE "$output/motion" DATALOADER.FRAME_CACHE "$output/frames" SOLVER.MAX_EPOCH 4

step "training a detector from it: $output/detection"
"$python" tools/run_net.py --cfg configs/Puppets/MoDist_R18_detection.yaml --resume OUTPUT_DIR "$output/detection" \
  DATALOADER.FRAME_CACHE "$output/frames" SOLVER.MAX_EPOCH 4 \
  MODEL.WEIGHTS "$output/pretraining/checkpoints/$(cat "$output/pretraining/checkpoints/last_checkpoint")"

step "image: $output/detections.png"
"$python" tools/draw_detections.py --data datasets/puppets/val.yaml \
  --detections "$output/detection/inference/puppets_val_detections.csv" --out "$output/detections.png"

step "annotated video: $output/demo/val_0000.mp4"
"$python" tools/demo.py datasets/puppets/videos/val_0000.mp4 --checkpoint "$output/detection" \
  --persons datasets/puppets/tracks_val.json --out "$output/demo"

step "official AVA mAP of its detections"
"$python" tools/evaluate_ava.py -l datasets/puppets/label_map.pbtxt -g datasets/puppets/val.csv \
  -d "$output/detection/inference/puppets_val_detections.csv" --chance --json "$output/ava_map.json"

step "done in $((SECONDS / 60)) min $((SECONDS % 60)) s after the installation"
echo "results in $output/ava_map.json, images in $output/detections.png and $output/demo/val_0000.png, video in $output/demo"
