#!/usr/bin/env bash
# Hold memory and time against their predictions, on a machine with a CUDA GPU: benchmarks/memory.sh OUT
# PARTS chooses among the parts below; seconds are estimates for an H200 with 139 GiB. STORES keeps what was measured: a
# part that was stopped after LIMIT seconds (default 500 a command) goes on where it was when it is called again with the
# same STORES. All that is kept lies in OUT/memory.tar.gz; the ends of all logs are printed.
#
#   calibrate              30 s   the machine's ceilings, for predicted times
#   grid:SIZE:PRECISION    72 cells of benchmarks/memory.toml a size, 24 a precision: fp32 small 80, medium 110, large 190,
#                          xl 300, 2.7B 420 s; bf16 and bf16-pure 60 to 150 s each
#   predictions            10 s   signed errors of memory and time, the worst cases, cells that ran out of memory
#   fit:GRID:LIMIT         GRID 003 or 004, LIMIT all, 80GiB or 24GiB: 003 250 to 450 s, 004 250 to 400 s
#   sets                   10 s   the predicted set of cells that run out of memory against the measured one
#   ledgers                90 s   small and 2.7B, with what the ledger leaves open
#   tests                 200 s   the GPU's own tests of ledgers, searches and models
#   checkpoints           250 s   the best checkpointing of 2.7B at context 2048 in bf16, within 60 GiB
set -u
out=${1:?usage: benchmarks/memory.sh OUT}
out=$(mkdir -p "$out" && cd "$out" && pwd)
stores=${STORES:-$(mktemp -d)}
limit=${LIMIT:-500}
kept=$stores/kept
python=${PYTHON:-python3}

run() { # name, then a command whose output is kept; it is asked to stop as by Ctrl-C, and what it measured is stored
  local name=$1 begin=$SECONDS
  shift
  timeout --signal INT --kill-after 30 "$limit" "$@" >"$kept/$name.log" 2>&1
  echo "$name: exit code $?, $((SECONDS - begin)) s (124, 130: call it again)"
  tail -n 25 "$kept/$name.log"
}

windtunnel() { # name, then arguments of windtunnel
  local name=$1
  shift
  run "$name" "$python" -m windtunnel "$@"
}

keep() { # the store of a part, compacted
  rm -f "$kept/$1.sqlite"
  "$python" -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("VACUUM INTO ?", sys.argv[2:])' \
    "$stores/$1/store.sqlite" "$kept/$1.sqlite"
}

grid() { # size, precision: one row of axes of the sweep in place of all
  sed -e "s/^size = .*/size = \"$1\"/" -e "s/^precision = .*/precision = \"$2\"/" benchmarks/memory.toml \
    >"$stores/memory-$1-$2.toml"
  windtunnel "grid-$1-$2" run "$stores/memory-$1-$2.toml" --no-probes --store "$stores/memory" --report "$kept/memory"
}

fit() { # grid, limit
  local limits=() asked=benchmarks/memory-004.toml
  [ "$2" = all ] || limits=(--memory-limit "$2")
  [ "$1" = 004 ] || asked=seed-003
  windtunnel "fit-$1-$2" fit "$asked" "${limits[@]}" --store "$stores/fit-$1" --report "$kept/fit-$1"
  keep "fit-$1"
}

all="calibrate"
for precision in fp32 bf16 bf16-pure; do
  for size in small medium large xl 2.7B; do all="$all grid:$size:$precision"; done
done
all="$all predictions"
for memory in all 80GiB 24GiB; do all="$all fit:003:$memory fit:004:$memory"; done
all="$all sets ledgers tests checkpoints"

mkdir -p "$kept"
for part in ${PARTS:-$all}; do
  IFS=: read -r name first second <<<"$part"
  case $name in
    calibrate) windtunnel calibrate calibrate --seconds 10 --store "$stores/memory" ;;
    grid) grid "$first" "$second" ;;
    predictions)
      run predictions "$python" benchmarks/predictions.py "$stores/memory"
      keep memory
      ;;
    fit) fit "$first" "$second" ;;
    sets) run sets "$python" benchmarks/frontier_sets.py "$stores/fit-003" "$stores/fit-004" ;;
    ledgers)
      windtunnel ledgers memory --size small,2.7B --context 512 --mode train_step --precision bf16 \
        --attention eager,flash-triton --store "$stores/ledgers" --report "$kept/ledgers"
      grep -E "attributed|ledger (closes|does not)|The allocator counted" "$kept/ledgers.log"
      ;;
    tests) # torch.compile apart, as in `make test`
      for marker in "gpu and not compile" "compile and gpu"; do
        run "tests-${marker%% *}" "$python" -m pytest -q -p no:cacheprovider -m "$marker" tests/probe/test_memory_gpu.py \
          tests/sweep/test_frontier_gpu.py tests/models
      done
      ;;
    checkpoints)
      windtunnel checkpoints memory --size 2.7B --context 2048 --precision bf16 --checkpoint-search --budget 60GiB \
        --store "$stores/checkpoints" --report "$kept/checkpoints"
      keep checkpoints
      ;;
    *) echo "unknown part: $part" ;;
  esac
done
tar -C "$kept" -czf "$out/memory.tar.gz" .
