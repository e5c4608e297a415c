#!/usr/bin/env bash
# Everything that has to be measured on a GPU, sized for a quarter of an hour, in the order of its worth.
#
#   DATA=zip:cifar10.zip benchmarks/gpu.sh     on a machine with one GPU; it downloads nothing
#   benchmarks/gpu.sh check networks           only some of its stages: check, networks, cifar10
#   REHEARSE=1 benchmarks/gpu.sh               the same commands on a CPU, with tiny sizes
#
# PYTHON names the interpreter, OUT the folder of the results (benchmarks/results). A stage that fails
# or takes too long ends by itself; the status is that of the worst stage.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"  # paths are those of the caller's folder
PYTHON=${PYTHON:-python}
OUT=${OUT:-$root/benchmarks/results}
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

rehearse() {
  case $1 in
    check) stage 600 benchmarks.accelerator_check --model=resnet8 --batch=8 --size=16 ;;
    networks) stage 900 benchmarks.networks --only resnet20 --rounds=1 --seconds=0.1 \
      --json="$OUT/networks_rehearsal.json" ;;
    cifar10) stage 900 benchmarks.cifar10_fast digits --epochs 1 --seeds 1 \
      --json="$OUT/cifar10_fast_rehearsal.json" -- --config.data.channels=3 \
      --config.model.name=resnet8 --config.model.dtype=float32 ;;
  esac
}

measure() {
  case $1 in
    check) stage 200 benchmarks.accelerator_check ;;
    networks) stage 340 benchmarks.networks --device=gpu --rounds=3 --seconds=2 \
      --json="$OUT/networks_gpu.json" ;;
    cifar10) if [ -z "$DATA" ]; then
        echo "== without DATA=zip:cifar10.zip, cifar10_fast is left out"
      else
        stage 300 benchmarks.cifar10_fast "$DATA" --epochs 10 --seeds 1 \
          --json="$OUT/cifar10_fast.json"
      fi ;;
  esac
}

if [ $# -eq 0 ]; then set -- check networks cifar10; fi
for name in "$@"; do
  case $name in
    check | networks | cifar10) ;;
    *) echo "error: unknown stage $name: choose check, networks or cifar10" >&2 && exit 2 ;;
  esac
done
mkdir -p "$OUT" || exit
for name in "$@"; do
  if [ -n "${REHEARSE:-}" ]; then
    JAX_PLATFORMS=cpu rehearse "$name"
  else
    JAX_PLATFORMS=cuda,cpu measure "$name"
  fi
done
exit "$worst"
