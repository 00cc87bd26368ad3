#!/usr/bin/env bash
# Checks a machine with CUDA: the tests marked `cuda`, at most 200 s each, then the speed of four models, at most 90 s each time.
#   bash tools/gpu_check.sh               needs modist_det (with torch and torchvision) and: pip install pytest pytest-timeout
#   bash tools/gpu_check.sh --device cpu  what of it runs without a GPU, with small models
# GPU_CHECK_OUT names the folder of the results (default output/gpu_check).
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
device=cuda
[ "${1:-}" = --device ] && device="$2"
out="${GPU_CHECK_OUT:-output/gpu_check}"
mkdir -p "$out"
failed=0
python - "$device" <<'PYTHON' || exit 1
import sys
import torch
gpus = torch.cuda.device_count()
print(f"torch {torch.__version__}, {gpus} GPUs" + "".join(f", {torch.cuda.get_device_name(i)}" for i in range(gpus)))
if sys.argv[1] == "cuda" and not gpus:
    sys.exit("torch sees no CUDA device; bash tools/gpu_check.sh --device cpu runs what does without one")
if gpus < 2:
    print("left out: FSDP, and statistics over several GPUs, which need two (tests/engine/test_sharding.py has them on the CPU)")
PYTHON
[ "$device" = cpu ] && export CUDA_VISIBLE_DEVICES=
python -m pytest tests/device -m cuda -q -rs --timeout 200 | tee "$out/tests.txt" || failed=1

step() { # NAME ARGUMENTS...
  name="$1"
  shift
  echo "== $name"
  timeout 90 python tools/benchmark.py model --device "$device" --json "$out/$name.json" "$@" | tee "$out/$name.txt" || {
    echo "$name: failed"
    failed=1
  }
}
if [ "$device" = cpu ]; then
  for config in Slow_R18 ViT MoDist_R18; do
    step "$config" --cfg "configs/Puppets/$config.yaml" --batch-size 2 --warmup 1 --repeat 2
  done
else
  for precision in fp32 bf16 fp16; do
    amp=()
    [ "$precision" = fp32 ] || amp=(--amp "$precision")
    step "Slow_R50_$precision" --cfg configs/AVA/Slow_R50_8x8.yaml --batch-size 16 "${amp[@]}"
  done
  step Slow_R50_bf16_channels_last --cfg configs/AVA/Slow_R50_8x8.yaml --batch-size 16 --amp bf16 --channels-last
  step Slow_R50_bf16_compile --cfg configs/AVA/Slow_R50_8x8.yaml --batch-size 16 --amp bf16 --compile
  step SlowFast_R50_bf16 --cfg configs/AVA/SlowFast_R50_8x8.yaml --batch-size 8 --amp bf16
  step ViT_B_bf16 --cfg configs/AVA/ViT_B_VideoMAE.yaml --batch-size 4 --amp bf16
  step MoDist_bf16 --cfg configs/MoDist/Kinetics_R50.yaml --batch-size 16 --amp bf16
fi
[ "$failed" = 0 ] && echo "all of it passed; results are in $out" || echo "something failed; see above and $out"
exit "$failed"
