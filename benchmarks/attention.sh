#!/usr/bin/env bash
# Measure what docs/results holds of attention alone, on a machine with a CUDA GPU: benchmarks/attention.sh OUT
# Takes about twenty-five minutes on an H200. Each part writes into OUT; PARTS chooses among them, in this order.
set -u
out=${1:?usage: benchmarks/attention.sh OUT}
stores=${STORES:-$(mktemp -d)}

run() { # name, then a command whose output is kept
  local name=$1 begin=$SECONDS
  shift
  "$@" >"$out/$name.log" 2>&1
  echo "$name: exit code $?, $((SECONDS - begin)) s"
  tail -n 15 "$out/$name.log"
}

measure() { # a preset: its ceilings first; its store is compacted into OUT, with its report
  run "calibrate-$1" python3 -m windtunnel calibrate --seconds 5 --store "$stores/$1"
  run "$1" python3 -m windtunnel attention "$1" --store "$stores/$1" --report "$out/$1"
  keep "$1"
}

keep() {
  python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("VACUUM INTO ?", sys.argv[2:])' \
    "$stores/$1/store.sqlite" "$out/$1.sqlite"
}

mkdir -p "$out"
gpu_tests="tests/kernels/test_flash_gpu.py tests/attention tests/bench/test_attention_gpu.py tests/probe tests/models"
for part in ${PARTS:-tests tiles attention-h200 attention-long seed-004 context goals}; do
  case $part in
    tests) # conformance of every backend on the device, bf16 too; torch.compile apart, as in `make test`
      run tests python3 -m pytest -q -p no:cacheprovider -m "gpu and not compile" $gpu_tests
      run tests-compile python3 -m pytest -q -p no:cacheprovider -m "compile and gpu" $gpu_tests
      ;;
    tiles) # the search behind src/windtunnel/kernels/tiles.py; its logs are kept
      run tiles-half python3 benchmarks/tiles.py --d 64,128 --dtype bf16 --budget 110 --out "$out/tiles-half.json"
      run tiles-float32 python3 benchmarks/tiles.py --d 16,32,64,128 --dtype fp32 --mask full --budget 110 \
        --out "$out/tiles-float32.json"
      run tiles-other python3 benchmarks/tiles.py --d 16,32,256 --dtype bf16 --budget 80 --out "$out/tiles-other.json"
      ;;
    attention-h200 | attention-long | seed-004) measure "$part" ;;
    context) # whole steps: memory by context, with the scores and without them
      run context python3 -m windtunnel step --size small --batch 1 --context 1024,2048,4096,8192,16384 \
        --mode train_step --precision bf16 --attention eager,flash-triton --steps 5 \
        --store "$stores/context" --report "$out/context"
      keep context
      ;;
    goals) # what was reached of what was aimed at, from the stores above
      run goals python3 benchmarks/attention_goals.py "$stores" --out "$out/goals.md"
      ;;
  esac
done
