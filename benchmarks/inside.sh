#!/usr/bin/env bash
# Look inside steps on a machine with a CUDA GPU, as docs/results has it: benchmarks/inside.sh OUT
# PARTS chooses among the parts below; seconds are estimates for an H200. LIMIT (default 300) stops a command, which then
# has stored what it did; with the same STORES it goes on with the rest. Reports, traces and logs go to OUT.
#
#   traces             60 s   one step of a small model per attention backend and compile mode, as torch's profiler writes it
#   precision          60 s   number formats, errors and losses: the toy model and small
#   speed              70 s   each precision against fp32, in pairs
#   nsys               40 s   the cells of seed 002's profiles
#   profiles:SIZE     200 s   contexts 128 to 1024, forward and training step, fp32 and bf16
#   tests              30 s   the GPU's own tests of profiles and formats
set -u
out=${1:?usage: benchmarks/inside.sh OUT}
out=$(mkdir -p "$out" && cd "$out" && pwd)
stores=${STORES:-$(mktemp -d)}
limit=${LIMIT:-300}
python=${PYTHON:-python3}

run() { # name, then a command whose output is kept
  local name=$1 begin=$SECONDS
  shift
  timeout --signal INT --kill-after 30 "$limit" "$@" >"$out/$name.log" 2>&1
  echo "$name: exit code $?, $((SECONDS - begin)) s"
  tail -n "${LINES_SHOWN:-12}" "$out/$name.log"
}

trace() { # name, then what the cell has beside the tiny model
  local name=$1
  shift
  run "trace-$name" "$python" -m windtunnel profile --d-model 256 --layers 2 --heads 4 --vocab 1000 --context 256 \
    --mode train_step --profiled-steps 2 --trace "$out/$name.json.gz" --store "$stores/traces" --report "$out/traces" "$@"
}

look() { # command, name, then its arguments: a report of the same name
  local command=$1 name=$2
  shift 2
  run "$name" "$python" -m windtunnel "$command" "$@" --store "$stores/$name" --report "$out/$name"
}

for part in ${PARTS:-traces precision speed nsys profiles:small profiles:2.7B tests}; do
  IFS=: read -r name size <<<"$part"
  case $name in
    traces)
      trace eager --attention eager --precision fp32
      trace autocast --attention eager --precision bf16
      for backend in sdpa-flash sdpa-efficient sdpa-cudnn flash-triton; do
        trace "$backend" --attention $backend --precision bf16
      done
      trace compiled --attention sdpa --precision bf16 --compile default
      trace graphs --attention eager --precision bf16 --compile reduce-overhead
      ;;
    precision)
      look precision toy --model windtunnel.models.toy:make_toy --vocab 100 --precision fp32,tf32,fp16,bf16,bf16-pure
      look precision precision --size small --context 256 --precision fp32,tf32,fp16,bf16,bf16-pure
      ;;
    speed)
      look precision speed --speed --size small,medium,large --context 256 --precision tf32,bf16,bf16-pure
      ;;
    nsys) look profile nsys seed-002-nsys ;;
    profiles)
      look profile "profiles-$size" --size "$size" --context "${CONTEXTS:-128,256,512,1024}" --mode "${MODES:-forward,train_step}" \
        --precision "${PRECISIONS:-fp32,bf16}" --attention eager
      ;;
    tests)
      run tests "$python" -m pytest -q -p no:cacheprovider -m "gpu and not compile" tests/probe tests/sweep
      ;;
    *) echo "unknown part: $part" ;;
  esac
done
