#!/bin/sh
# Run one stage of the build and say how long it took: stage.sh NAME COMMAND...   Without arguments: the table of all.
set -u
times=${STAGES:-.stages}

if [ $# = 0 ]; then
    awk -F '\t' '{ printf "%-28s %8d s   %s\n", $1, $2, $3; all += $2 } END { printf "%-28s %8d s\n", "together", all }' "$times"
    exit 0
fi
name=$1
shift
started=$(date +%s)
"$@"
code=$?
spent=$(($(date +%s) - started))
result=$([ $code = 0 ] && echo done || echo "FAILED ($code)")
printf '%s\t%s\t%s\n' "$name" "$spent" "$result" >>"$times"
echo "== stage $name: $spent s, $result"
exit $code
