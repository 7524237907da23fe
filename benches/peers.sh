#!/usr/bin/env bash
# Runs pipe, DVC, Snakemake and doit on the same pipelines, and prints a table of medians in milliseconds.
#
#   benches/peers.sh                     a few minutes
#   STAGES="10 1000" FILES=10000 MIB=1024 REPEATS=5 benches/peers.sh
#
# PIPE names the program to measure (default: target/release/pipe). VENV names a virtual environment that is made, and
# filled from PyPI, unless it is there. Work is done in a temporary folder, which is removed.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
export PIPE=${PIPE:-$here/target/release/pipe} VENV=${VENV:-${TMPDIR:-/tmp}/pipe-peers}
export STAGES=${STAGES:-10 100} FILES=${FILES:-1000} MIB=${MIB:-256} REPEATS=${REPEATS:-3}
if [ ! -x "$VENV/bin/dvc" ]; then
  python3 -m venv "$VENV"
  "$VENV/bin/pip" install --quiet dvc snakemake doit
fi
exec "$VENV/bin/python" "$here/benches/peers.py"
