#!/usr/bin/env bash
# Show on a machine with a CUDA GPU that the numbers hold: benchmarks/proofs.sh OUT
# Takes about twelve minutes on an H200. Each part writes OUT/PART.md or OUT/PART.log; PARTS chooses among them.
set -u
out=${1:?usage: benchmarks/proofs.sh OUT}
stores=$(mktemp -d)

run() { # name, then a command whose output is kept
  local name=$1 begin=$SECONDS
  shift
  "$@" >"$out/$name.log" 2>&1
  echo "$name: exit code $?, $((SECONDS - begin)) s"
  tail -n 12 "$out/$name.log"
}

mkdir -p "$out"
for part in ${PARTS:-doctor graphs overhead disturbance throttle cold pairs processes compare turns}; do
  case $part in
    doctor) run doctor python3 -m windtunnel doctor ;;
    disturbance) run disturbance python3 benchmarks/disturbance.py --seconds 30 --out "$out/disturbance.md" ;;
    graphs | overhead | throttle) run "$part" python3 "benchmarks/$part.py" --out "$out/$part.md" ;;
    processes) # the same GPU-bound cell in five fresh processes
      run processes python3 -m windtunnel step --size large --context 1024 --batch 8 --mode train_step --precision bf16 \
        --attention sdpa --warmup auto --steps 100 --processes 5 --store "$stores/processes" --report "$out/processes"
      ;;
    cold) # what a cold start is made of
      run cold python3 -m windtunnel step --size small --context 512 --mode forward_backward --precision bf16 \
        --attention sdpa --compile off,default --warmup 0,5 --steps 10 --store "$stores/cold" --report "$out/cold"
      ;;
    pairs) # identical work, and 1 % more of it
      run pairs python3 benchmarks/false_alarms.py --device cuda --trials 100
      ;;
    compare) # two cells in one process, over a grid, against themselves, and compiled
      cells="--size medium --mode train_step --precision bf16 --store $stores/compare"
      run compare-grid python3 -m windtunnel compare $cells --context 256,512,1024 --batch 8 \
        --a "--attention eager" --b "--attention sdpa"
      run compare-same python3 -m windtunnel compare $cells --context 512 --batch 16 --attention sdpa --a "" --b ""
      run compare-compiled python3 -m windtunnel compare $cells --context 512 --attention sdpa \
        --a "--compile default" --b "--compile reduce-overhead"
      run compare-report python3 -m windtunnel report "$stores/compare" --out "$out/compare"
      ;;
    turns) # two cells in processes that take turns
      run turns python3 -m windtunnel compare --size medium --mode train_step --precision bf16 --context 512 --batch 16 \
        --pair process --block-time 1s --a "--attention eager" --b "--attention sdpa" --store "$stores/turns"
      ;;
  esac
done
