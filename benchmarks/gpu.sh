#!/usr/bin/env bash
# Measure what docs/results holds, on a machine with a CUDA GPU: benchmarks/gpu.sh OUT
# Takes about twenty-five minutes on an H200. Each store is compacted into OUT, with its report. SWEEPS chooses among the
# parts at the end, in this order; advice wants the store of seed-001, which STORES keeps between two calls.
set -u
out=${1:?usage: benchmarks/gpu.sh OUT}
stores=${STORES:-$(mktemp -d)}
windtunnel() { python3 -m windtunnel "$@"; }

run() { # name, then the arguments of `windtunnel`; what it prints is kept
  local name=$1 begin=$SECONDS
  shift
  windtunnel "$@" >"$out/$name.log" 2>&1
  echo "$name: exit code $?, $((SECONDS - begin)) s of wall time"
  tail -n 25 "$out/$name.log"
}

measure() { # name and sweep: the machine's ceilings first
  run "calibrate-$1" calibrate --seconds 5 --store "$stores/$1"
  run "$1" run "$2" --store "$stores/$1" --report "$out/$1"
}

mkdir -p "$out"
for name in ${SWEEPS:-seed-000 seed-001 seed-002 seed-003 course smoke failures target tune advice}; do
  store=$name
  case $name in
    target) # the machine's ceilings first, then steps until their medians are known to 1 %
      run calibrate-target calibrate --store "$stores/target"
      run target step --size small,large,2.7B --context 512 --mode train_step --precision fp32,bf16 \
        --warmup auto --target 1% --max-time 12s --store "$stores/target" --report "$out/target"
      ;;
    tune) # the fastest training step of medium within an error that bf16 keeps
      run tune tune --size medium --context 512 --mode train_step --precision fp32 --attention eager --error-limit 1e-1 \
        --budget 6m --store "$stores/tune" --report "$out/tune"
      ;;
    advice) # what the report of seed-001 advises, tried against what was measured
      store=seed-001
      run advice report "$stores/seed-001" --verify-advice --budget 2m --format md,html --out "$out/advice"
      ;;
    course | smoke | failures) measure "$name" "benchmarks/$name.toml" ;;
    *) measure "$name" "$name" ;;
  esac
  python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("VACUUM INTO ?", sys.argv[2:])' \
    "$stores/$store/store.sqlite" "$out/$name.sqlite"
done
