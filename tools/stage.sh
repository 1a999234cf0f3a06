#!/bin/sh
# Run one stage of the build and say how long it took: stage.sh NAME COMMAND...   Without arguments: the table of all.
# On a virtual machine it says too how much of the processors' time the host gave to others meanwhile (proc(5), steal):
# a stage that took longer than the last time may have had less to run on.
set -u
times=${STAGES:-.stages}

if [ $# = 0 ]; then
    awk -F '\t' '{ printf "%-28s %8d s   %s\n", $1, $2, $3; all += $2 } END { printf "%-28s %8d s\n", "together", all }' "$times"
    exit 0
fi

processors() { # all time that has passed on them, and what of it was stolen, in ticks
    awk '$1 == "cpu" { for (i = 2; i <= 9; i++) all += $i; print all, $9 }' "${PROC_STAT:-/proc/stat}"
}

name=$1
shift
started=$(date +%s)
before=$(processors)
"$@"
code=$?
spent=$(($(date +%s) - started))
result=$([ $code = 0 ] && echo done || echo "FAILED ($code)")
lost=$(echo "$before $(processors)" | awk '$3 > $1 { print int(100 * ($4 - $2) / ($3 - $1)) }')
# Within a second two ticks are already some percent.
[ "$spent" -lt 1 ] || [ "${lost:-0}" -lt 1 ] || result="$result; the host gave $lost % of the processors' time to others"
printf '%s\t%s\t%s\n' "$name" "$spent" "$result" >>"$times"
echo "== stage $name: $spent s, $result"
exit $code
