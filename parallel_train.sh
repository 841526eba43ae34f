#!/usr/bin/env bash
# Trains each of TASKS on one of GPU_IDS. Run it where your train.py is; where there is none, it trains on digits.
#
#   ./parallel_train.sh      run what is not done; exit code 1 if a task failed, 130 after Ctrl-C, 143 after TERM
#   ./parallel_train.sh -n   only say what would run (--dry-run)
#   ./parallel_train.sh -h   this text (--help)

GPU_IDS=(0 1 2 3)  # one task at a time on each; a GPU named twice takes two, "0,1" gives both to each task
TASKS=(            # dataset shots noise_rate noise_type num_classes [seed [cfg [trainer]]], none with a space in it
  "caltech101 16 "{0.125,0.25,0.375,0.5,0.625,0.75}" sym 100"
  "caltech101 16 "{0.125,0.25,0.375,0.5,0.625,0.75}" asym 100"
)
DATA_ROOT=${DATA_ROOT-~/datasets/nlprompt/caltech-101}
OUTPUT_BASE=output
LOG_DIR=logs
GRACE=10  # seconds between INT, TERM and KILL

# How it works (Linux, bash 4.3 or newer):
# - One worker per GPU walks through TASKS. It takes a task by creating a file, which only one can: see noclobber.
# - A task has a session of its own, and a mark in its environment that all it starts inherits. By that mark
#   everything is found and stopped: at Ctrl-C, and what a task left running, before its GPU is used again.
# - Done means: the newest log.txt* of the output says "Finish training", and if we started it, it exited with 0.
#   `.seed1.state` beside the output says how it ended, and is locked while it runs. Remove it to trust the output.
set -o nounset -o noclobber

die() { echo "parallel_train.sh: $*" >&2; exit 2; }

describe() {  # NUMBER: set name, output, command, state, and the places where a finished output may lie
  local LC_ALL=C field padded short
  IFS=$' \t\n' read -r -d "" -a field <<<"${TASKS[$1]}"
  local dataset=${field[0]-} shots=${field[1]-} rate=${field[2]-} type=${field[3]-} classes=${field[4]-}
  local seed=${field[5]-1} cfg=${field[6]-rn50} trainer=${field[7]-NLPrompt}
  [[ ${#field[@]} == [5-8] && $rate =~ ^(0\.[0-9]+|1\.0+)$ && " ${field[*]}" != *@(/| .)* ]] ||
    die "task $(($1 + 1)), '${TASKS[$1]}': it needs 5 to 8 fields, the third such as 0.5, none with '/' or a '.' first"
  if [[ -f train.py ]]; then
    printf -v padded %.3f "$rate"
    short=${padded%0} short=${short%.00}  # folders spell 0.5 as 0.50, those of another time also as 0.5 or 0.500
    places=("$OUTPUT_BASE/$dataset/$trainer/${cfg}_${shots}shots/noise_$type"_{"$short","$rate","$padded"}"/seed$seed")
    command=("$python" train.py --root "$DATA_ROOT" --seed "$seed" --trainer "$trainer"
      --dataset-config-file "configs/datasets/$dataset.yaml" --config-file "configs/trainers/$trainer/$cfg.yaml"
      --output-dir "${places[0]}" DATASET.NUM_SHOTS "$shots" DATASET.NOISE_RATE "$rate"
      DATASET.NOISE_TYPE "$type" DATASET.num_class "$classes")
  else
    dataset=digits places=("$OUTPUT_BASE/digits/ce/mlp/noise_${type}_$rate/seed$seed")
    command=("$python" -m parallel_train.demo.train --root "$DATA_ROOT" --seed "$seed" --trainer ce
      --dataset-config-file "$here/configs/datasets/digits.yaml" --config-file "$here/configs/trainers/ce/mlp.yaml"
      --output-dir "${places[0]}" DATASET.NOISE_RATE "$rate" DATASET.NOISE_TYPE "$type")
  fi
  output=${places[0]} state=${output%/*}/.seed$seed.state
  name=${dataset}_${type}_${rate}_seed$seed name=${name//[^[:alnum:]_.+-]/_} name=${name:0:150}
}

is_finished() {  # FOLDER...: whether the newest log in them says so
  grep -qsF "Finish training" -- "$(find -H "$@" -maxdepth 1 -name "log.txt*" -printf "%T@ %p\n" 2>/dev/null |
    LC_ALL=C sort -n | tail -n 1 | cut -d " " -f 2-)"
}

is_done() { [[ ! -e $state || $(<"$state") == ✓* ]] && is_finished "${places[@]}"; }

groups_of() {  # MARK: the process groups in which something carries it
  grep -lszF -- "$1" /proc/[0-9]*/environ | while read -r file; do
    stat=$(<"${file%environ}stat") && read -r _ _ group _ <<<"${stat##*) }" && echo "$group"
  done 2>/dev/null | sort -u
}

stop_all() {  # MARK: INT, TERM, KILL to what carries it, until nothing does and no worker is left
  local signal group groups told ticks
  for signal in INT TERM KILL; do
    told=" "
    for ((ticks = 0; ticks < GRACE * 10; ticks++)); do
      groups=$(groups_of "$1")
      [[ $groups || $(jobs -rp) ]] || return
      for group in $groups; do
        [[ $told == *" $group "* ]] || kill -s "$signal" -- "-$group" 2>/dev/null
        told+="$group "
      done
      sleep 0.1
    done
  done
  echo "parallel_train.sh: can't be stopped: process groups ${groups//$'\n'/ }" >&2
}

train() {  # GPU NUMBER: run the task, whose state is open as descriptor 9; set said
  local log suffix code last seconds=$SECONDS
  flock -n 9
  (($? != 1)) || { said="✗ [GPU $1] Not started: $name runs already: $(<"$state")"; return 0; }
  ! is_done || return 0  # another run of this script has done it just now
  for suffix in "" _{2..99}; do
    log=$LOG_DIR/gpu${1//,/-}_${name}_$(date +%Y%m%d_%H%M%S)$suffix
    (umask 077; true >"$log.log" && true >"$log.err") 2>/dev/null && break
  done
  echo "[GPU $1] Task running since $(date): $name ($log.log)" >|"$state"
  printf "[GPU %s] %s\n" "$1" "Launching task: $name" "$1" "Output dir: $output" "$1" "Log file: $log.log"
  { CUDA_VISIBLE_DEVICES=$1 setsid env "$mark.$2." "${command[@]}" </dev/null >>"$log.log" 2>>"$log.err"; } 2>/dev/null
  code=$?
  stop_all "$mark.$2."
  said="✓ [GPU $1] Task completed: $name"
  is_finished "$output" || said="✗ [GPU $1] Task failed: $name: exit code 0, but no log.txt says 'Finish training'"
  last=$(tail -c 200 "$log.err" | tail -n 1 | tr -cd "[:print:]")
  ((code == 0)) || said="✗ [GPU $1] Task failed: $name: exit code $code: $last"
  [[ -d $taken ]] || said="[GPU $1] Task stopped: $name"
  seconds=$((SECONDS - seconds))
  said+=" ($((seconds / 3600))h $((seconds / 60 % 60))m $((seconds % 60))s, $log.log)"
  echo "$said" >|"$state"
}

work() {  # GPU: take one task after the other
  local i said
  trap : PIPE
  for i in "${!TASKS[@]}"; do
    { kill -0 $$ && echo "✗ [GPU $1] Its worker was killed: task $((i + 1))" >"$taken/$i"; } 2>/dev/null || continue
    describe "$i"
    said="Skipped: $name (done: $output)"
    is_done || { mkdir -p "${output%/*}" && train "$1" "$i" 9>>"$state"; } || said="✗ $name: can't write $state"
    echo "$said"
    { echo "$said" >|"$taken/$i"; } 2>/dev/null
  done
}

# shellcheck disable=SC2329  # the traps call it
stop() {  # SIGNAL CODE
  set +o monitor
  trap "" INT TERM HUP
  mv "$taken" "$taken.gone"  # from now on nothing can be taken
  echo "$1: stopping what runs (INT, TERM, KILL, $GRACE s apart)"
  stop_all "$mark."
  exit "$2"
}

check_gpus() {
  local cards="" id ids
  ! command -v nvidia-smi >/dev/null || cards=$(timeout 30 nvidia-smi -L 2>&1) || [[ $cards == *"No devices"* ]] ||
    die "nvidia-smi does not answer: $cards"
  [[ $cards == *UUID* ]] || { cards="" && echo "No GPU here: ${#GPU_IDS[@]} at a time on the CPU"; }
  IFS=", " read -r -a ids <<<"${GPU_IDS[*]-}"
  for id in "${ids[@]-}"; do
    [[ $id =~ ^[A-Za-z0-9-]+$ && (! $cards || $cards == *@("GPU $id:"|"UUID: $id)")*) ]] ||
      die "GPU_IDS: there is no GPU '$id'${cards:+ here, only$'\n'$cards}"
  done
}

main() {
  local i gpu cores here python name output command state places good
  local -A whose=()
  case "$# ${1-}" in
    "0 " | "1 -n" | "1 --dry-run") ;;
    "1 -h" | "1 --help") sed -n '2,/^$/s/^# \{0,1\}//p' "$0" && exit ;;
    *) die "unknown: $* (try --help)" ;;
  esac
  here=$(dirname "$(readlink -f "$0")")
  python=${PYTHON-$(command -v python || echo python3)}
  if [[ ! -f train.py ]]; then
    [[ -d $here/parallel_train/demo ]] || die "there is no train.py in $PWD"
    [[ ${PYTHON+set} || ! -x $here/.venv/bin/python ]] || python=$here/.venv/bin/python
    export PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
    echo "No train.py here: training on the digits that come with parallel-train"
  fi
  check_gpus
  ((${#TASKS[@]})) || die "TASKS is empty"
  for i in "${!TASKS[@]}"; do
    describe "$i"
    [[ ! ${whose[$output]-} ]] || die "tasks ${whose[$output]} and $((i + 1)) have the same output, $output"
    whose[$output]=$((i + 1))
    if (($# == 0)); then continue; fi
    if is_done; then echo "skip  $name (done: $output)"; else echo "run   $name:$(printf " %q" "${command[@]}")"; fi
  done
  (($# == 0)) || exit 0

  cores=$(unset OMP_NUM_THREADS OMP_THREAD_LIMIT && nproc)
  cores=$((cores > ${#GPU_IDS[@]} ? cores / ${#GPU_IDS[@]} : 1))
  for i in {OMP,MKL,OPENBLAS,NUMEXPR}_NUM_THREADS; do [[ -v $i ]] || export "$i=$cores"; done
  export CUDA_DEVICE_ORDER=PCI_BUS_ID PYTHONUNBUFFERED=1
  mkdir -p "$LOG_DIR" && taken=$(mktemp -d) || exit 2
  mark=PARALLEL_TRAIN_SH_$$=$(date +%s)
  trap 'rm -rf "$taken" "$taken.gone"' EXIT
  trap "stop INT 130" INT
  trap "stop TERM 143" TERM
  trap "stop HUP 129" HUP
  trap : PIPE  # that nobody reads what we say is no reason to stop
  set -o monitor  # gives each worker a process group of its own: a Ctrl-C is for us alone, who stop things in order
  for gpu in "${GPU_IDS[@]}"; do work "$gpu" & done
  set +o monitor
  until wait; do :; done
  stop_all "$mark."  # what is left of a killed worker
  grep -sh "^✗" "$taken"/*
  good=$(grep -slE "^(✓|Skipped)" "$taken"/* | wc -l)
  echo "$good of ${#TASKS[@]} tasks are done"
  ((good == ${#TASKS[@]}))
}

main "$@"; exit
