#!/bin/sh
# Checks that nobody has touched a sealed run of pytest-drills since it ended. Nothing is sent, nothing is changed.
#
#   sh verify.sh [RUN_DIRECTORY [DIRECTORY_OF_PUBLIC_KEYS]]
#
# Needs openssl 1.1.1 or later, ssh-keygen 8.1 or later, sha256sum, and cat, grep, mktemp, rm, sed, wc.
# With the public keys that the team published (run.pub.pem, checkpoint.pub) it also checks who sealed the run.
# TSA_CA=FILE names the certificate of a time-stamping authority, to check who set a time stamp.
# The last line is VERIFIED (exit code 0) or FAILED: and the reason (exit code 1).

set -u
LC_ALL=C
export LC_ALL
CDPATH=

TYPE=application/vnd.in-toto+json
BUNDLE=application/vnd.dev.sigstore.bundle.v0.3+json
B64='[A-Za-z0-9+\/=]*'

problems=0
reason=

bad() {
    problems=$((problems + 1))
    [ -n "$reason" ] || reason=$1
    printf '  %s\n' "$1"
}

finish() {
    if [ "$problems" -eq 0 ]; then
        echo VERIFIED
        exit 0
    fi
    more=
    [ "$problems" -eq 1 ] || more=" (and $((problems - 1)) more)"
    printf 'FAILED: %s%s\n' "$reason" "$more"
    exit 1
}

sha() { # of a file, or of what is piped in
    if command -v sha256sum >/dev/null; then
        set -- "$(cat ${1+"$1"} | sha256sum)"
    else
        set -- "$(cat ${1+"$1"} | openssl dgst -sha256 -r)"
    fi
    printf '%s' "${1%% *}"
}

size() { printf '%s' "$(($(wc -c <"$1")))"; }

decode() { # the Base64 text $1 into the file $2; refused where it is not spelt as it was written
    printf '%s' "$1" | openssl base64 -d -A >"$2" 2>/dev/null && [ -n "$1" ] && [ "$(openssl base64 -A -in "$2")" = "$1" ]
}

walk() { # one line for each file below $1, as the manifest writes it
    for file in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        if [ -d "$file" ] && [ ! -h "$file" ]; then
            walk "$file"
        elif [ -e "$file" ] || [ -h "$file" ]; then
            name=${file#./}
            case $name in
            manifest.json | run.dsse.json | run.sigstore.json | recovery.dsse.json | recovery.sigstore.json) continue ;;
            seal/checkpoint.note | seal/checkpoint.note.sig | seal/checkpoint.note.tsr | seal/checkpoint.note.tsr.sig) continue ;;
            seal/entry.json | seal/proof | sign-offs.jsonl) continue ;;
            *[\\\"]*) name=$(printf '%s\n' "$name" | sed 's/[\\"]/\\&/g') ;;
            esac
            if [ -f "$file" ] && [ ! -h "$file" ]; then
                printf '{"path":"%s","sha256":"%s","size":%s}\n' "$name" "$(sha "$file")" "$(size "$file")"
            else
                printf '{"path":"%s","sha256":"no regular file","size":0}\n' "$name"
            fi
        fi
    done
}

check_files() {
    grep '^{"path":' manifest.json | sed 's/,$//' >"$work/listed"
    walk . >"$work/found"
    [ -s "$work/listed" ] || bad "manifest.json lists no file"
    grep -Fxv -f "$work/found" "$work/listed" >"$work/differ"
    while IFS= read -r line; do
        name=${line#'{"path":"'}
        name=${name%'","sha256":'*}
        if grep -Fq "{\"path\":\"$name\",\"sha256\":" "$work/found"; then
            bad "changed: $name"
        else
            bad "missing: $name"
        fi
    done <"$work/differ"
    grep -Fxv -f "$work/listed" "$work/found" >"$work/differ"
    while IFS= read -r line; do
        name=${line#'{"path":"'}
        name=${name%'","sha256":'*}
        grep -Fq "{\"path\":\"$name\",\"sha256\":" "$work/listed" || bad "added: $name"
    done <"$work/differ"
}

check_statement() { # $1 is run or recovery, $2 the type of its predicate
    envelope=$1.dsse.json
    [ -f "$envelope" ] || { bad "missing: $envelope"; return; }
    form="^{\"payload\":\"\($B64\)\",\"payloadType\":\"application\/vnd.in-toto+json\",\"signatures\":\[{\"keyid\":\"\([0-9a-f]*\)\",\"sig\":\"\($B64\)\"}\]}\$"
    payload=$(sed -n "s/$form/\1/p" "$envelope")
    keyid=$(sed -n "s/$form/\2/p" "$envelope")
    signature=$(sed -n "s/$form/\3/p" "$envelope")
    signed="{\"payload\":\"$payload\",\"payloadType\":\"$TYPE\",\"signatures\":[{\"keyid\":\"$keyid\",\"sig\":\"$signature\"}]}"
    if ! decode "$payload" "$work/$1" || ! decode "$signature" "$work/signature" || [ "$keyid" != "$run_key" ] ||
        [ "$(printf '%s\n' "$signed" | sha)" != "$(sha "$envelope")" ]; then
        bad "changed: $envelope is no envelope as pytest-drills writes it"
        return
    fi
    {
        printf 'DSSEv1 %d %s %d ' "${#TYPE}" "$TYPE" "$(size "$work/$1")"
        cat "$work/$1"
    } >"$work/pae"
    openssl dgst -sha256 -verify seal/run.pub.pem -signature "$work/signature" "$work/pae" >/dev/null 2>&1 ||
        bad "changed: the signature of $envelope does not hold"
    subject="\"predicateType\":\"$2\",\"subject\":[{\"digest\":{\"sha256\":\"$manifest\"},\"name\":\"manifest.json\"}]}"
    case $(cat "$work/$1") in
    *"$subject") ;;
    *) bad "changed: manifest.json is not the one that $envelope is about" ;;
    esac
    bundle="{\"dsseEnvelope\":$signed,\"mediaType\":\"$BUNDLE\",\"verificationMaterial\":{\"publicKey\":{\"hint\":\"$hint\"},\"tlogEntries\":[]}}"
    [ "$(printf '%s\n' "$bundle" | sha)" = "$(sha "$1.sigstore.json")" ] ||
        bad "changed: $1.sigstore.json does not say what $envelope says"
}

signed_by_checkpoint_key() { # $1.sig is a signature of $1, in the very form that ssh-keygen writes
    sed '1d;$d' "$1.sig" | sed -n 'H;${x;s/\n//g;p;}' >"$work/armour"
    decode "$(cat "$work/armour")" "$work/blob" || return 1
    {
        echo '-----BEGIN SSH SIGNATURE-----'
        sed 's/.\{70\}/&\
/g' "$work/armour" | sed '/^$/d'
        echo '-----END SSH SIGNATURE-----'
    } >"$work/rebuilt"
    [ "$(sha "$work/rebuilt")" = "$(sha "$1.sig")" ] &&
        ssh-keygen -Y verify -f "$work/signers" -I drills -n drill-checkpoint -s "$1.sig" <"$1" >/dev/null 2>&1
}

check_log() { # the run is in the log that the checkpoint is of
    for name in checkpoint.note checkpoint.note.sig entry.json proof; do
        [ -f "seal/$name" ] || { bad "missing: seal/$name"; return; }
    done
    printf 'drills %s\n' "$(cat seal/checkpoint.pub)" >"$work/signers"
    signed_by_checkpoint_key seal/checkpoint.note || bad "changed: the signature of seal/checkpoint.note does not hold"
    entry=$(cat seal/entry.json)
    [ "$(printf '%s\n' "$entry" | sha)" = "$(sha seal/entry.json)" ] || bad "changed: seal/entry.json"
    case $entry in
    *"\"event\": \"seal\", \"run\": \"$run_id\", \"manifest_sha256\": \"$manifest\""*) ;;
    *) bad "changed: seal/entry.json is not the entry of this manifest.json" ;;
    esac
    index=$(sed -n '1s/^\(0\)$/\1/p;1s/^\([1-9][0-9]\{0,17\}\)$/\1/p' seal/proof)
    length=$(sed -n '2s/^\([1-9][0-9]\{0,17\}\)$/\1/p' seal/checkpoint.note)
    if [ -z "$index" ] || [ -z "$length" ] || [ "$index" -ge "$length" ]; then
        bad "changed: seal/proof is no proof"
        return
    fi
    # RFC 9162, 2.1.3.2: from the entry, over the hashes beside its path, to the root of the tree.
    last=$((length - 1))
    printf '%s\n' "$index" >"$work/rebuilt"
    { printf '\000'; printf '%s' "$entry"; } | openssl dgst -sha256 -binary >"$work/node"
    sed 1d seal/proof >"$work/path"
    while IFS= read -r text; do
        decode "$text" "$work/beside" && [ "$last" -gt 0 ] || { bad "changed: seal/proof is no proof"; return; }
        printf '%s\n' "$text" >>"$work/rebuilt"
        if [ $((index % 2)) -eq 1 ] || [ "$index" -eq "$last" ]; then
            { printf '\001'; cat "$work/beside" "$work/node"; } | openssl dgst -sha256 -binary >"$work/next"
            while [ $((index % 2)) -eq 0 ] && [ "$index" -ne 0 ]; do
                index=$((index / 2))
                last=$((last / 2))
            done
        else
            { printf '\001'; cat "$work/node" "$work/beside"; } | openssl dgst -sha256 -binary >"$work/next"
        fi
        index=$((index / 2))
        last=$((last / 2))
        cat "$work/next" >"$work/node"
    done <"$work/path"
    [ "$last" -eq 0 ] && [ "$(sha "$work/rebuilt")" = "$(sha seal/proof)" ] &&
        [ "$(openssl base64 -A -in "$work/node")" = "$(sed -n 3p seal/checkpoint.note)" ] ||
        bad "changed: seal/entry.json is not in the log that seal/checkpoint.note is of"
}

check_time() {
    if [ ! -e seal/checkpoint.note.tsr ]; then
        [ ! -e seal/checkpoint.note.tsr.sig ] || bad "missing: seal/checkpoint.note.tsr"
        return
    fi
    [ -f seal/checkpoint.note.tsr.sig ] && signed_by_checkpoint_key seal/checkpoint.note.tsr ||
        bad "changed: the signature of seal/checkpoint.note.tsr does not hold"
    if [ -n "$authority" ]; then
        who="checked against $TSA_CA"
        set -- -CAfile "$authority"
    else
        # The certificate that came with the stamp shows that the stamp is whole, and not whose it is.
        who='whose it is was not checked: name its authority by TSA_CA=FILE'
        openssl ts -reply -in seal/checkpoint.note.tsr -token_out 2>/dev/null |
            openssl pkcs7 -inform DER -print_certs >"$work/certificates" 2>/dev/null
        set -- -CAfile "$work/certificates" -partial_chain
    fi
    # A certificate that has expired since was good when the stamp was set.
    openssl ts -verify -data seal/checkpoint.note -in seal/checkpoint.note.tsr -no_check_time "$@" >/dev/null 2>&1 ||
        bad "changed: the time stamp seal/checkpoint.note.tsr does not hold"
    printf 'time stamp: %s; %s\n' "$(openssl ts -reply -in seal/checkpoint.note.tsr -text 2>/dev/null |
        sed -n 's/^Time stamp: *//p')" "$who"
}

check_keys() {
    printf 'key of runs: %s\nkey of checkpoints: %s\n' "$run_key" "$(ssh-keygen -l -f seal/checkpoint.pub | sed 's/^[0-9]* //')"
    if [ -z "$trusted" ]; then
        echo 'whose keys these are was not checked: compare them with what the team published'
        return
    fi
    [ "$(openssl pkey -pubin -in "$trusted/run.pub.pem" -outform DER 2>/dev/null | sha)" = "$run_key" ] ||
        bad "seal/run.pub.pem is not the key in $trusted"
    line='s/^\(ssh-ed25519 [A-Za-z0-9+\/=]*\).*$/\1/p'
    [ -n "$(sed -n "$line" "$trusted/checkpoint.pub" 2>/dev/null)" ] &&
        [ "$(sed -n "$line" "$trusted/checkpoint.pub")" = "$(sed -n "$line" seal/checkpoint.pub)" ] ||
        bad "seal/checkpoint.pub is not the key in $trusted"
}

main() {
    case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
    trusted=${2:-}
    case $trusted in '' | /*) ;; *) trusted=$PWD/$trusted ;; esac
    authority=${TSA_CA:-}
    case $authority in '' | /*) ;; *) authority=$PWD/$authority ;; esac
    for tool in openssl ssh-keygen; do
        command -v "$tool" >/dev/null || bad "$tool is not installed"
    done
    cd "${1:-$here}" || bad "there is no directory ${1:-$here}"
    for name in manifest.json seal/run.pub.pem seal/checkpoint.pub; do
        [ -f "$name" ] || bad "missing: $name"
    done
    [ "$problems" -eq 0 ] || finish
    work=$(mktemp -d) || { bad 'no temporary directory'; finish; }
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM

    manifest=$(sha manifest.json)
    run_id=$(sed -n 's/^"run":"\([A-Za-z0-9-]*\)",$/\1/p' manifest.json)
    openssl pkey -pubin -in seal/run.pub.pem -outform DER >"$work/der" 2>/dev/null
    run_key=$(sha "$work/der")
    hint=$(openssl dgst -sha256 -binary "$work/der" | openssl base64 -A)
    printf 'run %s: %s, as it says itself\n' "$run_id" "$(sed -n 's/^"verdict":"\([A-Z]*\)",$/\1/p' manifest.json)"
    check_files
    check_statement run https://in-toto.io/attestation/test-result/v0.1
    check_statement recovery https://pytest-drills.dev/recovery-objectives/v1
    check_log
    check_time
    check_keys
    [ ! -e sign-offs.jsonl ] || echo 'sign-offs.jsonl was added later and is not sealed: the log of all runs vouches for it'
    [ ! -h sign-offs.jsonl ] || bad 'sign-offs.jsonl is no regular file'
    finish
}

main "$@"
