#!/bin/sh
# Checks that nobody has touched sealed runs of pytest-drills since they ended. Nothing is sent, nothing is changed.
#
#   sh verify.sh [RUN_DIRECTORY|EVIDENCE_DIRECTORY [DIRECTORY_OF_PUBLIC_KEYS ...]]
#
# Needs openssl 1.1.1 or later, ssh-keygen 8.1 or later, sha256sum, and cat, grep, mktemp, rm, sed, wc.
# With the public keys that the team published (run.pub.pem, checkpoint.pub) it also checks who sealed the runs.
# CHECKPOINT=FILE names a checkpoint that was kept somewhere else: the log of all runs must go on from it.
# TSA_CA=FILE names the certificate of a time-stamping authority, to check who set a time stamp.
# A run that lies in its evidence directory is compared with the log there. The last line is VERIFIED (exit code 0) or
# FAILED: and the reason (exit code 1).

set -u
LC_ALL=C
export LC_ALL
CDPATH=

TYPE=application/vnd.in-toto+json
BUNDLE=application/vnd.dev.sigstore.bundle.v0.3+json
B64='[A-Za-z0-9+\/=]*'
FIRST=0000000000000000000000000000000000000000000000000000000000000000
ALL_COMPARED=100 # checkpoints that are compared with the log, each of which takes a while; beyond that, the newest
NL='
'
# What a terminal acts on without a control character of ASCII: C1, and marks that turn the direction of writing.
C1=$(printf '\302[\200-\237]')
TURNS=$(printf 's/\342\200[\216\217\250-\256]/?/g;s/\342\201[\246-\251]/?/g;s/\330\234/?/g')

problems=0
reason=
of=       # the run that is spoken of, where there are several
shown=' ' # the keys that were named

clean() { # one line of text that no name in it can break or colour
    case $1 in
    *[!\ -~]*) printf '%s' "$1" | sed -n "H;\${x;s/^\n//;s/\n/?/g;s/[[:cntrl:]]/?/g;s/$C1/?/g;$TURNS;p;}" ;;
    *) printf '%s\n' "$1" ;;
    esac
}

say() { clean "$of$1"; }

bad() {
    problems=$((problems + 1))
    text=$(clean "$of$1")
    [ -n "$reason" ] || reason=$text
    printf '  %s\n' "$text"
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

walk() { # one line for each file below $1, as the manifest writes it: a line end in a name is no end of its line
    for file in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        if [ -d "$file" ] && [ ! -h "$file" ]; then
            walk "$file"
        elif [ -e "$file" ] || [ -h "$file" ]; then
            name=${file#./}
            case $name in
            manifest.json | run.dsse.json | run.sigstore.json | recovery.dsse.json | recovery.sigstore.json) continue ;;
            seal/checkpoint.note | seal/checkpoint.note.sig | seal/checkpoint.note.tsr | seal/checkpoint.note.tsr.sig) continue ;;
            seal/entry.json | seal/proof | sign-offs.jsonl) continue ;;
            *[\\\"]* | *"$NL"*) name=$(printf '%s\n' "$name" | sed -n 's/[\\"]/\\&/g;H;${x;s/^\n//;s/\n/\\n/g;p;}') ;;
            esac
            if [ -f "$file" ] && [ ! -h "$file" ]; then
                printf '{"path":"%s","sha256":"%s","size":%s}\n' "$name" "$(sha "$file")" "$(size "$file")"
            else
                printf '{"path":"%s","sha256":"no regular file","size":0}\n' "$name"
            fi
        fi
    done
}

check_form() { # the manifest is in the one form that it is written in, so that all readers read the same
    [ -z "$(sed -e '1s/^{$/+/' -e '2s/^"schema":"pytest-drills\/manifest\/v1",$/+/' -e '3s/^"run":"[A-Za-z0-9-]\{1,\}",$/+/' \
        -e '4s/^"verdict":"[A-Z]\{1,\}",$/+/' -e '5s/^"sealed_utc":"[0-9TZ:.-]\{1,\}",$/+/' -e '6s/^"redacted":\[.*\],$/+/' \
        -e '7s/^"files":\[$/+/' -e '8,$s/^{"path":".*","sha256":"[0-9a-f]\{64\}","size":[0-9]\{1,\}},\{0,1\}$/+/' \
        -e '$s/^\]}$/+/' manifest.json | grep -v '^+$')" ] || bad 'changed: manifest.json is not in the form that it was written in'
}

check_files() {
    grep '^{"path":' manifest.json | sed 's/,$//' >"$work/listed"
    walk . >"$work/found"
    [ -s "$work/listed" ] || bad "manifest.json lists no file"
    [ "$(wc -l <"$work/listed")" -le "$(wc -l <"$work/found")" ] || bad 'changed: manifest.json lists more files than there are'
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
    form="^{\"payload\":\"\($B64\)\",\"payloadType\":\"application\/vnd.in-toto+json\",\"signatures\":\[{\"keyid\":\"\([A-Za-z0-9+\/:]*\)\",\"sig\":\"\($B64\)\"}\]}\$"
    payload=$(sed -n "s/$form/\1/p" "$envelope")
    keyid=$(sed -n "s/$form/\2/p" "$envelope")
    signature=$(sed -n "s/$form/\3/p" "$envelope")
    signed="{\"payload\":\"$payload\",\"payloadType\":\"$TYPE\",\"signatures\":[{\"keyid\":\"$keyid\",\"sig\":\"$signature\"}]}"
    if ! decode "$payload" "$work/$1" || ! decode "$signature" "$work/signature" ||
        { [ "$keyid" != "$fingerprint" ] && [ "$keyid" != "$run_key" ]; } ||
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

verdicts_of() { # the drills and their verdicts by the run.json in this directory, one a line
    [ ! -f run.json ] || sed -n '/^  "verdicts": {$/,/^  }/s/^    "\(.*\)": "\([A-Z]*\)",\{0,1\}$/\1 \2/p' run.json
}

figures() { # fields of $1 that are figures, one a line, from pieces of JSON one a line
    sed -n 's/^ *\("[a-z_]*"\): \{0,1\}\(-\{0,1\}[0-9a-z][0-9a-z.+-]*\),\{0,1\}$/\1:\2/p' "$1"
}

check_claims() { # the verdicts and figures that were signed are those of run.json and the records
    verdicts_of >"$work/verdicts"
    summed=INCONCLUSIVE
    for verdict in MET ENVIRONMENT INCONCLUSIVE MISSED; do # the worst last
        ! grep -q " $verdict\$" "$work/verdicts" || summed=$verdict
    done
    said=$(sed -n '4s/^"verdict":"\([A-Z]*\)",$/\1/p' manifest.json)
    [ "$said" = "$summed" ] || bad "changed: manifest.json says $said, and the drills of run.json are $summed together"
    [ -f "$work/run" ] && [ -f "$work/recovery" ] || return
    grep -Fq "\"run\":\"$run_id\",\"started_utc\":" "$work/recovery" &&
        grep -q "\"verdict\":\"$said\"},\"predicateType\":" "$work/recovery" ||
        bad 'changed: recovery.dsse.json does not say of the run what manifest.json does'
    sed 's/.*"predicate":{"drills":\[//;s/{"achieved":/\
&/g' "$work/recovery" >"$work/pieces"
    sed -n 's/^{"achieved":.*"drill":"\([^"]*\)",.*"standing":"[A-Z-]*","verdict":"\([A-Z]*\)"}.*/\1 \2/p' "$work/pieces" >"$work/said"
    grep -Fxv -f "$work/verdicts" "$work/said" >"$work/differ"
    grep -Fxv -f "$work/said" "$work/verdicts" >>"$work/differ"
    [ ! -s "$work/differ" ] || bad 'changed: recovery.dsse.json does not have the verdicts of run.json'
    result=$(sed -n 's/.*"predicate":{"configuration":.*"result":"\([A-Z]*\)","warnedTests":.*/\1/p' "$work/run")
    [ "$result" = FAILED ] || [ "$summed" = MET ] || bad "changed: run.dsse.json says $result, and the run is $summed"
    good=$(sed -n 's/.*"passedTests":\(\[[^]]*\]\),.*"warnedTests":\(\[[^]]*\]\)},"predicateType".*/\1\2/p' "$work/run")
    while IFS=' ' read -r drill verdict; do
        case $verdict:$good in
        MET:*) ;;
        *"\"$drill\""*) bad "changed: run.dsse.json has $drill among those that passed, and it is $verdict" ;;
        esac
        [ -f "$drill/record.json" ] || continue
        grep -Fxq "  \"verdict\": \"$verdict\"," "$drill/record.json" || ! grep -q '^  "verdict": "' "$drill/record.json" ||
            bad "changed: $drill/record.json does not say $verdict, as run.json does"
        for part in achieved objective; do
            word=achieved
            [ "$part" = achieved ] || word=promised
            sed -n "/^  \"$part\": {\$/,/^  }/p" "$drill/record.json" >"$work/part"
            figures "$work/part" >"$work/figures"
            grep -F "\"drill\":\"$drill\"," "$work/pieces" >"$work/piece"
            [ "$part" = achieved ] || sed 's/.*,"drill":"[^"]*",//' "$work/piece" >"$work/objective"
            [ "$part" = objective ] || sed 's/,"controls":\[.*//' "$work/piece" >"$work/achieved"
            ! grep -Eq "^(\{\"achieved\"|\"objective\"):null" "$work/$part" || continue # sealed without its record
            [ "$part" = achieved ] || sed 's/,"sabotage":.*//' "$work/objective" >"$work/piece"
            [ "$part" = objective ] || cat "$work/achieved" >"$work/piece"
            sed 's/[{},]/\
/g' "$work/piece" >"$work/part"
            figures "$work/part" >"$work/signed"
            grep -Fxv -f "$work/figures" "$work/signed" >"$work/differ"
            grep -Fxv -f "$work/signed" "$work/figures" >>"$work/differ"
            [ ! -s "$work/differ" ] || bad "changed: recovery.dsse.json does not have what $drill/record.json says was ${word}"
        done
    done <"$work/verdicts"
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

check_proof() { # the run is in the log that the checkpoint is of
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
    say "time stamp: $(openssl ts -reply -in seal/checkpoint.note.tsr -text 2>/dev/null |
        sed -n 's/^Time stamp: *//p'); $who"
}

check_keys() {
    case $shown in
    *" $run_key "*) ;;
    *)
        shown="$shown $run_key "
        clean "key of runs: $run_key"
        clean "key of checkpoints: $(ssh-keygen -l -f seal/checkpoint.pub | sed 's/^[0-9]* //')"
        ;;
    esac
    if [ ! -s "$work/trusted" ]; then
        [ -n "$of" ] || echo 'whose keys these are was not checked: compare them with what the team published'
        return
    fi
    grep -Fxq "run $run_key" "$work/trusted" || bad "seal/run.pub.pem is not the key in $trusted"
    line=$(ssh_line seal/checkpoint.pub)
    [ -n "$line" ] && grep -Fxq "drills $line" "$work/trusted" || bad "seal/checkpoint.pub is not the key in $trusted"
}

ssh_line() { sed -n 's/^\(ssh-ed25519 [A-Za-z0-9+\/=]*\).*$/\1/p' "$1" 2>/dev/null; }

trust() { # the public keys of the directory $1
    der=$(openssl pkey -pubin -in "$1/run.pub.pem" -outform DER 2>/dev/null | sha)
    line=$(ssh_line "$1/checkpoint.pub")
    [ -n "$line" ] || bad "there is no run.pub.pem and checkpoint.pub in $1"
    printf 'run %s\ndrills %s\n' "$der" "$line" >>"$work/trusted"
}

check_run() { # the run in this directory, by what is in it
    for name in manifest.json seal/run.pub.pem seal/checkpoint.pub; do
        [ -f "$name" ] || { bad "missing: $name"; return; }
    done
    manifest=$(sha manifest.json)
    run_id=$(sed -n '3s/^"run":"\([A-Za-z0-9-]*\)",$/\1/p' manifest.json)
    openssl pkey -pubin -in seal/run.pub.pem -outform DER >"$work/der" 2>/dev/null
    run_key=$(sha "$work/der")
    hint=$(openssl dgst -sha256 -binary "$work/der" | openssl base64 -A)
    ssh-keygen -i -m PKCS8 -f seal/run.pub.pem >"$work/run.pub" 2>/dev/null
    fingerprint=$(ssh-keygen -l -E sha256 -f "$work/run.pub" 2>/dev/null | sed 's/^[0-9]* \([^ ]*\) .*/\1/')
    printf 'run %s\n' "$run_id: $(sed -n '4s/^"verdict":"\([A-Z]*\)",$/\1/p' manifest.json), as it says itself"
    name=$(pwd -P)
    case ${name##*/} in
    "$run_id") ;;
    ????????T??????Z-????) bad "the directory ${name##*/} holds the run $run_id" ;;
    esac
    check_form
    check_files
    rm -f "$work/run" "$work/recovery"
    check_statement run https://in-toto.io/attestation/test-result/v0.1
    check_statement recovery https://pytest-drills.dev/recovery-objectives/v1
    check_claims
    check_proof
    check_time
    check_keys
    [ ! -h sign-offs.jsonl ] || bad 'sign-offs.jsonl is no regular file'
}

# --- the log of all runs ---

split() { # the lines of $1 into files 0, 1, ... of $2, and with a zero byte before each into those of $3, if that is given
    count=0
    while IFS= read -r line || [ -n "$line" ]; do
        printf '%s' "$line" >"$2/$count"
        [ $# -lt 3 ] || printf '\000%s' "$line" >"$3/$count"
        count=$((count + 1))
    done <"$1"
}

sums() { # the SHA-256 of the files 0, 1, ... below $2 in the directory $1, one a line
    (
        cd "$1" || exit
        next=0
        total=$2
        set --
        while [ "$next" -lt "$total" ]; do
            set -- "$@" "$next"
            next=$((next + 1))
            [ $# -lt 200 ] && [ "$next" -lt "$total" ] && continue
            if command -v sha256sum >/dev/null; then sha256sum "$@"; else openssl dgst -sha256 -r "$@"; fi | sed 's/ .*//'
            set --
        done
    )
}

read_log() { # log.jsonl in $1: its entries, their digests and their leaves of the tree
    log=$1/log.jsonl
    entries=$(mktemp -d "$work/entries.XXXXXX")
    leaves=$(mktemp -d "$work/leaves.XXXXXX")
    split "$log" "$entries" "$leaves"
    length=$count
    sums "$entries" "$length" >"$work/digests"
    sums "$leaves" "$length" >"$work/hashes"
    # A line without its end, or with a zero byte, is not what was read.
    while IFS= read -r line; do printf '%s\n' "$line"; done <"$log" >"$work/again"
    [ "$(sha "$work/again")" = "$(sha "$log")" ] || bad 'log.jsonl: holds half a line, or what is no text'
    start='^{"seq": \([0-9]*\), "prev": "\([0-9a-f]*\)", "utc": "\([^" ]*\)", "event": "\([a-z-]*\)"'
    sed -e "s/$start, \"run\": \"\([A-Za-z0-9-]*\)\".*/\1 \2 \3 \4 \5/;t" -e "s/$start.*/\1 \2 \3 \4 -/;t" -e 's/.*/- - - - -/' \
        "$log" >"$work/table"
    # A stamp with its zone and its milliseconds, as a number.
    sed -e 's/^[^ ]* [^ ]* \([^ ]*\) .*/\1/' \
        -e 's/^\(....\)-\(..\)-\(..\)T\(..\):\(..\):\(..\)\.\([0-9]\{3\}\)Z$/\1\2\3\4\5\6\7/' -e 's/^.*[^0-9].*$/0/' "$work/table" >"$work/dates"
}

check_chain() { # each entry follows the one above, and no run has two starts, ends or seals
    number=0
    above=0
    chained=$FIRST
    seen=' '
    while IFS=' ' read -r seq prev utc event run <&3 && IFS= read -r digest <&4 && IFS= read -r date <&5; do
        where="log.jsonl: line $((number + 1))"
        if [ "$seq" = - ]; then
            bad "$where: not an entry"
        else
            [ "$seq" = "$number" ] || bad "$where: has the number $seq, not $number"
            [ "$prev" = "$chained" ] || bad "$where: does not follow the line before it: something was edited, removed or put in"
            case $event in
            start | end | seal)
                case $seen in
                *" $event:$run "*) bad "$where: a second $event of run $run: the first entry counts" ;;
                esac
                ;;
            esac
            case $event:$seen in
            start:* | end:*" start:$run "* | sign-off:*" start:$run "* | seal:*" start:$run "*" end:$run "*) ;;
            end:* | seal:* | sign-off:*) bad "$where: $event of run $run, which did not start or end before" ;;
            esac
            seen="$seen $event:$run "
            if [ "$date" -eq 0 ]; then
                bad "$where: has no date"
            elif [ "$date" -lt "$above" ]; then
                case $(cat "$entries/$number") in
                *', "clock_behind_s": '[0-9]*) say "$where: is dated before the entry above it; the clock was behind, as it says" ;;
                *) bad "$where: is dated $utc, before the entry above it" ;;
                esac
            fi
            above=$date
        fi
        chained=$digest
        number=$((number + 1))
    done 3<"$work/table" 4<"$work/digests" 5<"$work/dates"
    grep -n -e '"event": "[a-z-]*".*, "event": "\(start\|end\|seal\|sign-off\)"' -e '"verdicts": {.*"verdicts": {' \
        -e '"records": {.*"records": {' -e '"run_json_sha256": .*"run_json_sha256": ' \
        -e '"manifest_sha256": .*"manifest_sha256": ' "$log" | sed 's/:.*//' >"$work/twice"
    while IFS= read -r line; do bad "log.jsonl: line $line: says one thing twice"; done <"$work/twice"
}

root_of_first() { # $1 entries, in Base64 (RFC 9162, 2.1.1)
    sed -n "1,$1p" "$work/hashes" >"$work/level"
    nodes=$1
    while [ "$nodes" -gt 1 ]; do
        made=$(mktemp -d "$work/nodes.XXXXXX")
        pairs=0
        odd=
        sed 's/../0x& /g' "$work/level" >"$work/words"
        while IFS= read -r left; do
            if IFS= read -r right; then
                escaped='\001'
                for byte in $left $right; do
                    escaped="$escaped\\$((byte >> 6))$((byte >> 3 & 7))$((byte & 7))"
                done
                printf "$escaped" >"$made/$pairs"
                pairs=$((pairs + 1))
            else
                odd=$(printf '%s' "$left" | sed 's/0x//g;s/ //g')
            fi
        done <"$work/words"
        { sums "$made" "$pairs"; [ -z "$odd" ] || printf '%s\n' "$odd"; } >"$work/level"
        rm -rf "$made"
        nodes=$((pairs + ${odd:+1} + 0))
    done
    escaped=
    for byte in $(sed 's/../0x& /g' "$work/level"); do
        escaped="$escaped\\$((byte >> 6))$((byte >> 3 & 7))$((byte & 7))"
    done
    printf "$escaped" | openssl base64 -A
}

compare() { # the log goes on from the checkpoint $1, which is called $2
    size=$(sed -n '2s/^\([1-9][0-9]\{0,8\}\)$/\1/p' "$1")
    if [ -z "$size" ]; then
        bad "$2 is no checkpoint of a log"
    elif [ "$(sed -n 1p "$1")" != "pytest-drills/log/$(sed -n '1s/^\(.\{16\}\).*/\1/p' "$work/digests")" ]; then
        bad "$2 is of another log, or the log was written anew from its first entry"
    elif [ "$size" -gt "$length" ]; then
        bad "$2 saw $size entries, the log has $length: the newest were cut off"
    elif [ "$(root_of_first "$size")" != "$(sed -n 3p "$1")" ]; then
        bad "$2 saw other entries among the first $size: the log was written anew"
    fi
}

check_older() { # the checkpoint that was kept somewhere else
    [ -n "$older" ] || return
    [ -f "$older" ] || { bad "there is no file $older"; return; }
    if [ -f "$older.sig" ]; then
        signed_by_checkpoint_key "$older" || bad "the signature of $older does not hold"
    else
        say "who signed $older was not checked: $older.sig is not there"
    fi
    compare "$older" "$older"
}

first_entry() { # the number of run $2's first entry of the event $1, or nothing
    grep -n " $1 $2\$" "$work/table" | sed -n '1s/:.*//p'
}

check_in_log() { # the run in this directory is the one that the log has; its checks of itself are done
    at=$(first_entry seal "$run_id")
    if [ -z "$at" ]; then
        bad 'the log has no seal of this run'
    elif [ "$(sed -n "${at}p" "$log" | sha)" != "$(sha seal/entry.json)" ]; then
        bad 'changed: seal/entry.json is not the first seal of this run in the log'
    fi
    check_end "$run_id"
}

check_end() { # run.json and the records of run $1 are those that its end in the log names, or were redacted since
    at=$(first_entry end "$1")
    [ -n "$at" ] || return
    line=$(sed -n "${at}p" "$log")
    printf '%s\n' "$line" | sed -n 's/.*"run_json_sha256": "\([0-9a-f]*\)".*/run.json": "\1/p' >"$work/named"
    printf '%s\n' "$line" | sed -n 's/.*"records": {"\([^}]*\)"}.*/\1/p' | sed 's/", "/\
/g' >>"$work/named"
    redacted=$(sed -n '6s/^"redacted"://p' manifest.json 2>/dev/null)
    while IFS= read -r line; do
        name=${line%'": "'*}
        if [ ! -f "$name" ]; then
            bad "missing: $name"
        elif [ "$(sha "$name")" != "${line##*'": "'}" ]; then
            case $redacted in
            *"\"$name\""*)
                say "$name was redacted after the run had ended: its digest is not the one in the log"
                grep -Fq '[redacted]' "$name" || bad "changed: $name is named as redacted, and nothing in it is"
                ;;
            *) bad "changed: $name is not the one in the log's entry of its end" ;;
            esac
        fi
    done <"$work/named"
    sed -n "${at}p" "$log" | sed -n 's/.*"verdicts": {"\([^}]*\)"}.*/\1/p' | sed 's/", "/\
/g' >"$work/named"
    sed 's/": "/ /' "$work/named" | sed 's/^"//;s/"$//' >"$work/ended"
    if [ -f run.json ]; then
        verdicts_of >"$work/verdicts"
        grep -Fxv -f "$work/ended" "$work/verdicts" >"$work/differ"
        grep -Fxv -f "$work/verdicts" "$work/ended" >>"$work/differ"
        [ ! -s "$work/differ" ] || bad "changed: run.json does not have the verdicts of the log's entry of its end"
    fi
    for name in */record.json; do
        [ ! -f "$name" ] || sed -n "${at}p" "$log" | sed -n 's/.*"records": {"\([^}]*\)"}.*/"\1"/p' | grep -Fq "\"$name\": \"" ||
            bad "added: $name is not in the log's entry of its end"
    done
    while IFS= read -r line; do
        name=${line%'": "'*}/record.json
        [ ! -f "$name" ] || grep -Fxq "  \"verdict\": \"${line##*'": "'}\"," "$name" ||
            bad "changed: $name does not say ${line##*'": "'}, as the log's entry of its end does"
    done <"$work/named"
}

check_sign_offs() { # of run $1: what people said afterwards is what the log has, in its order
    grep "\"event\": \"sign-off\", \"run\": \"$1\"" "$log" | sed -n 's/.*"sha256": "\([0-9a-f]*\)".*/\1/p' >"$work/named"
    made=$(mktemp -d "$work/signed.XXXXXX")
    count=0
    [ ! -f sign-offs.jsonl ] || split sign-offs.jsonl "$made"
    sums "$made" "$count" >"$work/found"
    rm -rf "$made"
    [ "$(sha "$work/named")" = "$(sha "$work/found")" ] || bad 'sign-offs.jsonl is not what the log has'
}

check_evidence() { # all runs, and the log of them
    read_log "$(pwd -P)"
    check_chain
    cat "$work/trusted" >"$work/signers" 2>/dev/null
    if [ ! -s "$work/signers" ]; then
        echo 'whose keys these are was not checked: compare them with what the team published'
        for name in checkpoints/checkpoint.pub */seal/checkpoint.pub; do
            [ ! -f "$name" ] || printf 'drills %s\n' "$(ssh_line "$name")"
        done >"$work/signers"
    fi
    newest=0
    for note in checkpoints/*.note; do
        [ -f "$note" ] || continue
        size=${note##*/}
        size=${size%.note}
        [ "$size" = "$(sed -n 2p "$note")" ] || { bad "$note is not of $size entries"; continue; }
        { [ -f "$note.sig" ] && signed_by_checkpoint_key "$note"; } || bad "changed: the signature of $note does not hold"
        [ "$size" -le "$newest" ] || newest=$size
        [ "$length" -gt "$ALL_COMPARED" ] || compare "$note" "$note"
    done
    [ "$length" -le "$ALL_COMPARED" ] || [ ! -f "checkpoints/$newest.note" ] || compare "checkpoints/$newest.note" "checkpoints/$newest.note"
    check_older
    last=$(grep -n ' seal ' "$work/table" | sed -n '$s/:.*//p')
    [ "${last:-0}" -le "$newest" ] || bad 'the checkpoint that the newest seal made is gone'
    [ "$length" -le "$newest" ] || say "$((length - newest)) entries are in no checkpoint: nobody vouches for them"
    top=$(pwd -P)
    sed -n 's/^[^ ]* [^ ]* [^ ]* start \([^ ]*\)$/\1/p' "$work/table" >"$work/runs"
    while IFS= read -r run <&6; do
        of="$run: "
        case $run in
        ????????T??????Z-????) ;;
        *) bad 'is no name of a run'; continue ;;
        esac
        if [ -h "$run" ] || [ ! -d "$run" ]; then
            bad 'its directory is gone'
            continue
        fi
        cd "$run" || { bad 'its directory cannot be read'; continue; }
        if [ -z "$(first_entry seal "$run")" ]; then
            say 'was never sealed: nobody vouches for it'
            [ ! -f manifest.json ] || bad 'is sealed, and the log has no seal of it'
            check_end "$run"
        else
            check_run
            [ ! -f seal/entry.json ] || check_in_log
        fi
        check_sign_offs "$run"
        cd "$top" || exit 1
    done 6<"$work/runs"
    of=
    for name in */; do
        name=${name%/}
        [ "$name" = latest ] && [ -h latest ] && continue
        case $name in
        ????????T??????Z-????) ;;
        *) [ -f "$name/run.json" ] || [ -f "$name/manifest.json" ] || ls_records "$name" || continue ;;
        esac
        grep -Fxq "$name" "$work/runs" || bad "$name: is not in the log"
    done
}

ls_records() { # whether a drill's record lies below $1
    for name_ in "$1"/*/record.json; do [ ! -f "$name_" ] || return 0; done
    return 1
}

absolute() { case $1 in '' | /*) printf '%s' "$1" ;; *) printf '%s' "$PWD/$1" ;; esac; }

main() {
    case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
    authority=$(absolute "${TSA_CA:-}")
    older=$(absolute "${CHECKPOINT:-}")
    for tool in openssl ssh-keygen; do
        command -v "$tool" >/dev/null || bad "$tool is not installed"
    done
    [ "$problems" -eq 0 ] || finish
    work=$(mktemp -d) || { bad 'no temporary directory'; finish; }
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    target=${1:-$here}
    [ $# -eq 0 ] || shift
    : >"$work/trusted"
    trusted=$*
    for place in "$@"; do trust "$place"; done
    cd "$target" || { bad "there is no directory $target"; finish; }
    if [ -f log.jsonl ] && [ ! -f manifest.json ]; then
        check_evidence
        finish
    fi
    check_run
    if [ -f ../log.jsonl ] && [ -f seal/entry.json ]; then
        read_log ..
        check_chain
        check_in_log
        compare seal/checkpoint.note seal/checkpoint.note
        check_older
        check_sign_offs "$run_id"
    else
        [ ! -e sign-offs.jsonl ] || echo 'sign-offs.jsonl was added later and is not sealed: the log of all runs vouches for it'
        [ -z "$older" ] || bad 'CHECKPOINT is for a run that lies beside its log, and there is none'
    fi
    finish
}

main "$@"
