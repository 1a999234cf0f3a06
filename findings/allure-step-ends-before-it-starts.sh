#!/usr/bin/env bash
# Allure 2.46.1 and Allure 3.18.0: a step that stops before it starts is shown as 23 h 44 min, or as 0 s, and never as an error.
#
# Guess: where the clock was set back by 16 minutes during a step (stop lies before start), the report says that the time is
# unknown or wrong.
# Seen: both generate their report with exit code 0 and without a warning. Allure 2 keeps -960000 ms in its data, and what it
# shows is "23h 44m": the hours and minutes of a date before 1970. Allure 3 writes the stop over with the start and shows 0 s.
# Neither figure is in the results, and both look measured. Whoever keeps such a report as evidence checks the times before.
#
# Needs Java 17 or newer, Node.js 20 or newer with npm; takes about half a minute.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
export ALLURE_NO_ANALYTICS=true

npm install --silent --no-fund --no-audit --prefix two allure-commandline@2.46.1
npm install --silent --no-fund --no-audit --prefix three allure@3.18.0
mkdir results
cat >results/11111111-1111-4111-8111-111111111111-result.json <<'JSON'
{"uuid": "11111111-1111-4111-8111-111111111111", "historyId": "restore", "name": "restore", "fullName": "drill.restore",
 "status": "passed", "stage": "finished", "start": 1700000000000, "stop": 1700000060000, "steps": [
  {"name": "restore", "status": "passed", "stage": "finished", "start": 1700000000000, "stop": 1700000960000},
  {"name": "clock set back", "status": "passed", "stage": "finished", "start": 1700000960000, "stop": 1700000000000}]}
JSON

echo "Allure $(two/node_modules/.bin/allure --version) and Allure $(three/node_modules/.bin/allure --version)"
for generation in two three; do
  code=0 && $generation/node_modules/.bin/allure generate results --output report-$generation >$generation.log 2>&1 || code=$?
  echo "Allure $generation: exit code $code, says: $(tr '\n' ' ' <$generation.log)"
  [ $code = 0 ] || { echo "CHANGED: Allure $generation refuses the results."; exit 1; }
done

cat >finding.js <<'JS'
const { readFileSync, readdirSync } = require("node:fs");
const { runInNewContext } = require("node:vm");
const only = (folder, end) => folder + "/" + readdirSync(folder).find((name) => name.endsWith(end));
const json = (folder) => JSON.parse(readFileSync(only(folder, ".json"), "utf8"));

// What Allure 2 shows: the formatter of durations is cut out of the script of the report that it generated.
const script = readFileSync(only("report-two/assets", ".js"), "utf8");
const table = script.indexOf("[{suffix:`d`");
const start = script.lastIndexOf("var ", script.lastIndexOf(".repeat(Math.max(", table));
const ending = ".join(` `)}";
const text = script.slice(start, script.indexOf(ending, table) + ending.length);
const [, formatter] = /function (\w+)\(e,t=2\)/.exec(text);
const [, isFunction] = /value:(\w+)\(e\)\?/.exec(text);
const show = runInNewContext(`${text};${formatter}`, { [isFunction]: (value) => typeof value === "function" });

const two = json("report-two/data/test-cases").testStage.steps.map((step) => step.time);
const three = json("report-three/data/test-results").steps;
for (const n of [0, 1]) {
  const name = three[n].name.padEnd(15);
  console.log(`${name} Allure 2: ${two[n].duration} ms, shown as "${show(two[n].duration)}"`);
  console.log(`${name} Allure 3: ${three[n].duration} ms, stop - start = ${three[n].stop - three[n].start} ms`);
}
const found = show(two[0].duration) === "16m 00s" && three[0].duration === 960000 &&
  two[1].duration === -960000 && show(two[1].duration) === "23h 44m" && three[1].duration === 0;
console.log(found ? "As found: minus 16 minutes are almost a day in the one and nothing in the other, without an error."
  : "CHANGED: the step that stops before it starts is shown in another way.");
process.exit(found ? 0 : 1);
JS
node finding.js
