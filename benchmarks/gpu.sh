#!/usr/bin/env bash
# Everything that has to be measured on a GPU, sized for a quarter of an hour, in the order of its worth.
#
#   DATA=zip:cifar10.zip benchmarks/gpu.sh     on a machine with one GPU; it downloads nothing
#   REHEARSE=1 benchmarks/gpu.sh               the same commands on a CPU, with tiny sizes
#
# PYTHON names the interpreter, OUT the folder of the results (benchmarks/results). A stage that fails
# or takes too long ends by itself; the status is that of the worst stage.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=${PYTHON:-python}
OUT=${OUT:-benchmarks/results}
DATA=${DATA:-}
worst=0

stage() {
  local seconds=$1
  shift
  echo "== $* (at most $seconds s)"
  local begin=$SECONDS status=0
  timeout --kill-after=10 "$seconds" "$PYTHON" -m "$@" || status=$?
  echo "== status $status after $((SECONDS - begin)) s"
  if [ "$status" -gt "$worst" ]; then worst=$status; fi
}

mkdir -p "$OUT"
if [ -n "${REHEARSE:-}" ]; then
  export JAX_PLATFORMS=cpu
  stage 600 benchmarks.accelerator_check --model=resnet8 --batch=8 --size=16
  stage 600 benchmarks.networks --only resnet20 --peers ours torch products memory --rounds=1 \
    --seconds=0.1 --json="$OUT/networks_rehearsal.json"
  stage 900 benchmarks.cifar10_fast digits --epochs 1 --seeds 1 \
    --json="$OUT/cifar10_fast_rehearsal.json" -- --config.data.channels=3 \
    --config.model.name=resnet8 --config.model.dtype=float32
else
  export JAX_PLATFORMS=cuda,cpu
  stage 150 benchmarks.accelerator_check
  stage 360 benchmarks.networks --device=gpu --rounds=3 --seconds=2 \
    --json="$OUT/networks_gpu.json"
  if [ -n "$DATA" ]; then
    stage 330 benchmarks.cifar10_fast "$DATA" --epochs 10 --seeds 1 \
      --json="$OUT/cifar10_fast.json"
  else
    echo "== without DATA=zip:cifar10.zip, cifar10_fast is left out"
  fi
fi
exit "$worst"
