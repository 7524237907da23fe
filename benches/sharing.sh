#!/usr/bin/env bash
# How much faster several processes, and several machines, make one run on one cache: 40 stages that wait for half a second, and
# a command for each of 80 files that waits for a quarter. Prints times, how much of 1/N was reached, and how often anything was
# computed: that must be once. Machines are told apart by PIPE_MACHINE, as the tests do it, if the program was built for tests.
#
#   benches/sharing.sh [PIPE…]     default: target/release/pipe; several are compared, in turns
set -euo pipefail
cd "$(dirname "$0")/.."
pipes=("${@:-target/release/pipe}")
for i in "${!pipes[@]}"; do pipes[i]="$(realpath "${pipes[i]}")"; done
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

mkdir -p "$work/stages" "$work/items/data"
{
  echo 'stages:'
  for i in $(seq 40); do
    echo "  s$i: { kind: command, shell: true, run: \"sleep 0.5; echo $i >> $work/stages/ran; echo $i > {outputs.o}\", outputs: [o] }"
  done
} >"$work/stages/pipeline.yaml"
for i in $(seq 80); do echo "$i" >"$work/items/data/$i"; done
cat >"$work/items/pipeline.yaml" <<YAML
stages:
  s:
    kind: command
    shell: true
    inputs: { i: { file: data } }
    for_each: i
    outputs: { o: "{item}" }
    run: sleep 0.25; echo {item} >> $work/items/ran; cp {inputs.i} {outputs.o}
YAML

# once PIPE FOLDER PROCESSES HOSTS: seconds, and how often something was computed
once() {
  cd "$work/$2"
  rm -rf cache out ran
  local began pids=() p
  began="$(date +%s%N)"
  for p in $(seq "$3"); do
    PIPE_MACHINE="host$((p % $4))" "$1" run -q -j 2 >/dev/null &
    pids+=($!)
  done
  for p in "${pids[@]}"; do wait "$p"; done
  echo "$((($(date +%s%N) - began) / 1000000)) $(wc -l <ran)"
}

printf '%-8s %9s %6s  %-40s %10s %10s %9s\n' what processes hosts program seconds 'of 1/N' computed
for what in stages items; do
  for pipe in "${pipes[@]}"; do
    alone=''
    for shape in '1 1' '2 1' '4 1' '2 2' '4 4'; do
      read -r processes hosts <<<"$shape"
      mapfile -t runs < <(for _ in 1 2 3; do (once "$pipe" "$what" "$processes" "$hosts"); done | sort -n)
      read -r ms computed <<<"${runs[1]}"
      alone="${alone:-$ms}"
      awk -v what="$what" -v n="$processes" -v hosts="$hosts" -v pipe="$pipe" -v ms="$ms" -v alone="$alone" -v computed="$computed" \
        'BEGIN { printf "%-8s %9d %6d  %-40s %10.2f %9.0f%% %9d\n", what, n, hosts, pipe, ms / 1000, 100 * alone / n / ms, computed }'
    done
  done
done
