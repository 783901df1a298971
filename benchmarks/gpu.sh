#!/usr/bin/env bash
# Measure what docs/results holds, on a machine with a CUDA GPU: benchmarks/gpu.sh OUT
# Takes about twelve minutes on an H200. Each store is compacted into OUT, with its report.
set -u
out=${1:?usage: benchmarks/gpu.sh OUT}
stores=$(mktemp -d)
windtunnel() { python3 -m windtunnel "$@"; }

measure() { # name, then the arguments of `windtunnel run`
  local name=$1 begin=$SECONDS
  shift
  windtunnel run "$@" --store "$stores/$name" --report "$out/$name" >"$out/$name.log" 2>&1
  echo "$name: exit code $?, $((SECONDS - begin)) s of wall time"
  tail -n 25 "$out/$name.log"
}

mkdir -p "$out"
for name in ${SWEEPS:-seed-000 seed-001 seed-002 seed-003 course smoke failures target}; do
  case $name in
    target) # the machine's ceilings first, then steps until their medians are known to 1 %
      windtunnel calibrate --store "$stores/target"
      windtunnel step --size small,large,2.7B --context 512 --mode train_step --precision fp32,bf16 \
        --warmup auto --target 1% --max-time 12s --store "$stores/target" --report "$out/target"
      ;;
    course | smoke | failures) measure "$name" "benchmarks/$name.toml" ;;
    *) measure "$name" "$name" ;;
  esac
  python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("VACUUM INTO ?", sys.argv[2:])' \
    "$stores/$name/store.sqlite" "$out/$name.sqlite"
done
