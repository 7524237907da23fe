#!/usr/bin/env bash
# A part of a survey, from a FITS cube to its catalogue, model and residual: spectra a second and memory, stage by stage,
# and what follows for the whole Galactic Ring Survey (2.3 million spectra of 424 channels).
#
#   benches/survey.sh                    20,000 spectra, and a quarter of them to see that memory doesn't grow
#   SPECTRA=100000 benches/survey.sh     needs 1 GB of disk: 16 bytes for each channel of a spectrum, and the cube
#
# PIPE names the program to measure (default: target/release/pipe), THREADS how many threads it may use (default: all).
# Needs GNU time (Debian: apt-get install time). Work is done in a temporary folder, which is removed.
set -euo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
pipe=${PIPE:-$here/target/release/pipe} spectra=${SPECTRA:-20000}
threads=${THREADS:-$(nproc)}
[ -x /usr/bin/time ] || { echo 'survey.sh needs GNU time: apt-get install time' >&2; exit 1; }
[ -x "$pipe" ] || (cd "$here" && cargo build --release --locked)
(cd "$here" && cargo build --release --locked --quiet -p pipe-stages --example survey_cube)
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"

cat >pipeline.yaml <<'YAML'
vars: { cube: cube.fits }
stages:
  import: { inputs: { cube: { file: "${cube}" } }, config: { axis_unit: km/s } }
  fit: { inputs: { spectra: import.spectra } }
  export: { inputs: { spectra: import.spectra, catalogue: fit.catalogue } }
  maps: { inputs: { spectra: import.spectra, catalogue: fit.catalogue }, config: { dots_per_inch: 150 } }
YAML

# Prints a line for each stage: seconds, CPU seconds, and the most memory that it had.
measure() { # WIDTH HEIGHT
  local count=$(($1 * $2))
  "$here/target/release/examples/survey_cube" cube.fits "$1" "$2"
  printf '%d spectra of 424 channels, %d threads\n' "$count" "$threads"
  printf '%-8s %10s %14s %22s %12s\n' stage seconds 'CPU seconds' 'spectra/s (CPU second)' 'memory, MiB'
  for stage in import fit export maps; do
    /usr/bin/time -o time -f '%e %U %S %M' "$pipe" run -q -j "$threads" "$stage"
    awk -v stage="$stage" -v count="$count" '{
      cpu = $2 + $3
      printf "%-8s %10.2f %14.2f %13.0f (%6.0f) %12.0f\n", stage, $1, cpu, count / $1, count / cpu, $4 / 1024
    }' time
    cat time >>times
  done
}

width=400
measure "$width" $((spectra / width / 4))
mv times quarter
rm -rf cache out
measure "$width" $((spectra / width))
awk -v count=$((spectra / width * width)) -v threads="$threads" '
  { wall += $1; cpu += $2 + $3; if ($4 > most) most = $4 }
  END {
    whole = 2300000 / count
    printf "2,300,000 spectra at this rate: %.1f hours on %d threads, %.1f CPU hours\n", \
      wall * whole / 3600, threads, cpu * whole / 3600
  }' times
