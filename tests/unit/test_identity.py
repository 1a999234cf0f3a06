"""Identity servers on fakes: what is said to them, what is made of their answers, and how their data is given back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import threading
import time
from types import SimpleNamespace

import pytest

from drills.commands import Completed
from drills.drill import Drill
from drills.errors import BadReading, EnvironmentFailed, FaultHadNoEffect, ProcedureFailed, UsageError, WriteRefused
from drills.faults.replica import replicas_lost
from drills.identity import Refused, ReplicatedLedger, login_probe
from drills.kanidm import Kanidm
from drills.ldap import Directory
from drills.ledger import GENESIS, Row
from drills.probes import Entry
from drills.procedures.identity import REPLICAS, OpenLDAP
from drills.procedures.kanidm import KanidmServer

from .fake_apiserver import FakeApiServer
from .test_drill import make, service  # noqa: F401 - fixtures

ALICE = "uid=alice,dc=drills,dc=test"


@contextlib.contextmanager
def listening(handle):
    """Serve every connection on loopback by a coroutine, in a loop of its own; gives (host, port)."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start():
        return await asyncio.start_server(handle, "127.0.0.1", 0)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(5)
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)


# LDAP. The bytes are slapd 2.5's own answers.

BOUND = "300c02010161070a010004000400"
WRONG = "300c02010161070a013104000400"
LOGIN = "302e0201016029020103041b7569643d616c6963652c64633d6472696c6c732c64633d746573748007616c6963657077"


@contextlib.contextmanager
def answering(*answers):
    """A directory that gives these answers in hex, one for each message that it is sent, and then hangs up."""
    heard = []

    async def handle(reader, writer):
        for answer in answers:
            heard.append((await reader.read(9999)).hex())
            writer.write(bytes.fromhex(answer))
        writer.close()

    with listening(handle) as entry:
        yield entry, heard


def use(entry, work=None):
    async def session():
        async with Directory(ALICE, "alicepw", "ou=changes").login(*entry) as user:
            return await work(user) if work else None

    return asyncio.run(asyncio.wait_for(session(), 5))


def test_a_login_is_a_simple_bind():
    with answering(BOUND) as (entry, heard):
        use(entry)
    assert heard == [LOGIN]


@pytest.mark.parametrize(
    ("answer", "error", "why"),
    [
        (WRONG, Refused, r"^invalid credentials \(49\)$"),
        (
            "301102010161" + "0c0a01500400" + "0405" + "73 6f 72 72 79".replace(" ", ""),
            Refused,
            r"result \(80\): sorry",
        ),
        (BOUND[:12], ConnectionResetError, "closed before the answer was whole"),
        ("", ConnectionResetError, "closed before the answer was whole"),
        ("30050201016100", ConnectionResetError, "not an LDAP answer"),
        ("30840fffffff", ConnectionResetError, "not an LDAP answer"),
        (BOUND.replace("020101", "020100"), ConnectionResetError, "message 0 where 1 was asked"),
        ("485454502f312e31", ConnectionResetError, "closed|not an LDAP answer"),
    ],
)
def test_anything_but_a_good_answer_is_no_login(answer, error, why):
    with answering(answer) as (entry, _), pytest.raises(error, match=why):
        use(entry)


def tlv(tag, content):
    length = bytes([len(content)]) if len(content) < 0x80 else bytes([0x82, *len(content).to_bytes(2)])
    return bytes([tag]) + length + content


def entry_of(name, content):
    pairs = b"".join(
        tlv(0x30, tlv(4, kind) + tlv(0x31, tlv(4, value))) for kind, value in ((b"description", content), (b"cn", name))
    )
    return tlv(0x30, bytes([2, 1, 2]) + tlv(0x64, tlv(4, b"cn=" + name) + tlv(0x30, pairs)))


def test_a_change_is_an_entry_that_is_added():
    added = "300c02010269070a010004000400"
    with answering(BOUND, added) as (entry, heard):
        use(entry, lambda user: user.put("00000001", "content"))
    attributes = [(b"objectClass", b"device"), (b"cn", b"00000001"), (b"description", b"content")]
    listed = b"".join(tlv(0x30, tlv(4, kind) + tlv(0x31, tlv(4, value))) for kind, value in attributes)
    wanted = tlv(0x30, bytes([2, 1, 2]) + tlv(0x68, tlv(4, b"cn=00000001,ou=changes") + tlv(0x30, listed)))
    assert bytes.fromhex(heard[1]) == wanted


def test_changes_are_read_back_with_long_contents_and_in_pieces():
    long = "ü".encode() * 300
    done = "300c02010265070a010004000400"
    answer = entry_of(b"00000001", long).hex() + entry_of(b"00000002", b"two").hex() + done
    with answering(BOUND, answer) as (entry, _):
        assert use(entry, lambda user: user.changes()) == {"00000001": long.decode(), "00000002": "two"}


# Kanidm


class FakeKanidm:
    """As much of Kanidm as a login and a change need."""

    def __init__(self):
        self.groups, self.password = {}, "right"

    async def handle(self, reader, writer):
        step = 0
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                body = await reader.readexactly(int(re.search(r"content-length: (\d+)", head)[1]))
                asked = json.loads(body) if body else None
                status, answer = 200, None
                if head.startswith("POST /v1/auth"):
                    assert step == 0 or "x-kanidm-auth-session-id: s1" in head
                    step += 1
                    answer = {
                        "state": [{"choose": ["password"]}, {"continue": ["password"]}, self.told(asked)][step - 1]
                    }
                elif "authorization: Bearer t1" not in head:
                    status = 401
                elif head.startswith("POST /v1/group"):
                    name, content = asked["attrs"]["name"][0], asked["attrs"]["description"][0]
                    status = 400 if name in self.groups else 200
                    self.groups.setdefault(name, content)
                else:
                    answer = [{"attrs": {"name": [n], "description": [c]}} for n, c in self.groups.items()]
                data = json.dumps(answer).encode()
                half = len(data) // 2
                chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (data[:half], data[half:]) if part)
                told = f"HTTP/1.1 {status} X\r\nX-Kanidm-Auth-Session-Id: s1\r\nTransfer-Encoding: chunked\r\n\r\n"
                writer.write(told.encode() + chunks + b"0\r\n\r\n")

    def told(self, asked):
        good = asked["step"].get("cred", {}).get("password") == self.password
        return {"success": "t1"} if good else {"denied": "wrong"}


@pytest.fixture
def kanidm():
    fake = FakeKanidm()
    with listening(fake.handle) as entry:
        yield fake, entry


def kanidm_user(knows="right"):
    user = Kanidm("idm_admin", knows)
    user._tls = None  # in the clear here
    return user


def test_a_change_in_kanidm_is_a_new_group(kanidm):
    fake, entry = kanidm
    ledger = ReplicatedLedger([entry], {"one": [entry]}, kanidm_user().login)
    row = Row.chained(1, GENESIS, "payload", "now")
    ledger.append(row, 5.0)
    fake.groups["idm_admins"] = "not ours"
    assert ledger.read() == [row]
    with pytest.raises(WriteRefused, match="POST /v1/group was answered 400"):
        ledger.append(row, 5.0)


def test_a_wrong_password_is_no_login_in_kanidm(kanidm):
    async def log_in():
        async with kanidm_user("wrong").login(*kanidm[1]):
            pass

    with pytest.raises(Refused, match="not let in: wrong"):
        asyncio.run(log_in())


def test_what_is_no_kanidm_is_no_login_either():
    async def log_in(entry):
        async with kanidm_user().login(*entry):
            pass

    with answering("485454502f312e310d0a0d0a") as (entry, _), pytest.raises(ConnectionResetError, match="not Kanidm's"):
        asyncio.run(log_in(entry))


# The ledger


class Replica:
    def __init__(self, *, lets_in=True):
        self.rows, self.lets_in, self.takes_s = {}, lets_in, 0.0

    async def put(self, name, content):
        await asyncio.sleep(self.takes_s)
        if name in self.rows:
            raise Refused("entry already exists (68)")
        self.rows[name] = content

    async def changes(self):
        return dict(self.rows)


@pytest.fixture
def replicas():
    return [Replica(), Replica()]


@pytest.fixture
def ledger(replicas):
    entries = [("replica", number) for number in range(2)]

    @contextlib.asynccontextmanager
    async def login(_, number):
        if not replicas[number].lets_in:
            raise Refused("invalid credentials (49)")
        yield replicas[number]

    return ReplicatedLedger(entries, {f"r{number}": [entry] for number, entry in enumerate(entries)}, login)


def row(number):
    return Row.chained(number, GENESIS, "payload", "now")


def test_a_row_counts_only_where_every_replica_has_it(ledger, replicas):
    ledger.append(row(1), 1.0)
    with pytest.raises(WriteRefused, match="replicas differ: r0 has 1 rows alone, r1 has 0"):
        ledger.read()
    replicas[1].rows = dict(replicas[0].rows)
    assert ledger.read() == [row(1)]
    replicas[1].rows["00000001"] = "other"
    with pytest.raises(WriteRefused, match="r0 has 1 rows alone, r1 has 1"):
        ledger.read()


def test_a_replica_that_lets_nobody_in_is_passed_by_for_writes_and_named_in_reads(ledger, replicas):
    replicas[0].lets_in = False
    ledger.append(row(1), 1.0)
    assert list(replicas[1].rows) == ["00000001"]
    with pytest.raises(WriteRefused, match=r"^r0: replica:0: Refused: invalid credentials"):
        ledger.read()
    replicas[1].lets_in = False
    with pytest.raises(WriteRefused, match=r"the row: .*invalid.*; .*invalid"):
        ledger.append(row(2), 1.0)


def test_a_change_is_tried_once_and_the_next_one_begins_elsewhere(ledger, replicas):
    replicas[0].rows["00000001"] = "there"
    with pytest.raises(WriteRefused, match="entry already exists"):
        ledger.append(row(1), 1.0)
    assert not replicas[1].rows
    ledger.append(row(2), 1.0)
    assert list(replicas[1].rows) == ["00000002"]


def test_a_replica_that_hangs_costs_no_more_than_the_time_out(ledger, replicas):
    replicas[0].takes_s = 30.0
    before = time.monotonic()
    with pytest.raises(WriteRefused, match=r"no answer within 0\.1 s"):
        ledger.append(row(1), 0.1)
    assert time.monotonic() - before < 5


@pytest.mark.parametrize("content", ["no JSON", "[1]", "5"])
def test_an_edited_row_keeps_its_place_and_no_more(ledger, replicas, content):
    for replica in replicas:
        replica.rows = {"00000007": content, "stranger": content}
    stranger, edited = ledger.read()
    assert (stranger.seq, edited.seq, edited.payload) == (-1, 7, "")
    assert edited.seal != edited.digest


def test_a_ledger_needs_ways_in():
    with pytest.raises(UsageError, match=r"found entries=\[\]"):
        ReplicatedLedger([], {}, Directory(ALICE, "x", "y").login)


def test_a_probe_wants_a_user_to_be_let_in():
    def ask(answer):
        with answering(answer) as (entry, _):
            probe = login_probe("users can log in", [entry], Directory(ALICE, "alicepw", "").login)
            asyncio.run(asyncio.wait_for(probe.ask(Entry(*entry), 1.0), 5))

    ask(BOUND)
    with pytest.raises(BadReading, match="invalid credentials"):
        ask(WRONG)


# The fault

PODS, CLAIMS = (f"/api/v1/namespaces/idm/{plural}" for plural in ("pods", "persistentvolumeclaims"))
VOLUMES = "/api/v1/persistentvolumes"


@pytest.fixture
def api():
    server = FakeApiServer()
    for number in range(2):
        name, claim = f"identity-{number}", f"data-identity-{number}"
        volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}, {"name": "config", "secret": {}}]
        server.put(PODS, {"metadata": {"name": name, "uid": f"p{number}"}, "spec": {"volumes": volumes}})
        server.put(CLAIMS, {"metadata": {"name": claim, "uid": f"c{number}"}, "spec": {"volumeName": f"pv{number}"}})
        server.put(VOLUMES, {"metadata": {"name": f"pv{number}", "uid": f"v{number}"}, "spec": {}})
    yield server
    server.stop()


def test_lost_replicas_are_proved_by_their_own_pods_and_volumes(api, kube):
    fault = replicas_lost(kube, "idm", *REPLICAS)
    assert fault.target == "pod/idm/identity-0 with pv0, pod/idm/identity-1 with pv1"
    assert fault.proof() == []
    fault.inject()
    assert fault.proof() == [], "the volumes are still there"
    api.remove(VOLUMES, "pv0")
    assert fault.proof() == [], "so is the second one's"
    api.put(VOLUMES, {"metadata": {"name": "pv1", "uid": "another"}, "spec": {}})
    api.put(PODS, {"metadata": {"name": "identity-0", "uid": "another"}, "spec": {}})
    assert fault.proof() == [
        "pod identity-0 with uid p0 is gone", "volume pv0 with uid v0 is gone or released",
        "pod identity-1 with uid p1 is gone", "volume pv1 with uid v1 is gone or released",
    ]  # fmt: skip
    fault.heal()


def test_a_volume_that_its_class_keeps_counts_once_it_is_released(api, kube):
    fault = replicas_lost(kube, "idm", "identity-1")
    fault.inject()
    kept = {"metadata": {"name": "pv1", "uid": "v1"}, "spec": {"persistentVolumeReclaimPolicy": "Retain"}}
    api.put(VOLUMES, {**kept, "status": {"phase": "Bound"}})
    assert fault.proof() == []
    api.put(VOLUMES, {**kept, "status": {"phase": "Released"}})
    assert len(fault.proof()) == 2


def test_what_was_replaced_meanwhile_is_not_lost_again(api, kube):
    fault = replicas_lost(kube, "idm", "identity-1")
    api.remove(PODS, "identity-1")
    with pytest.raises(FaultHadNoEffect, match="Pod identity-1 was gone"):
        fault.inject()


def test_only_pods_with_volumes_of_their_own_can_be_lost(api, kube):
    api.put(PODS, {"metadata": {"name": "web", "uid": "w"}, "spec": {"volumes": []}})
    api.remove(VOLUMES, "pv1")
    for names, told in (
        ((), "no pod named"),
        (("x",), "no pod 'x'"),
        (("web",), "'web' with claims"),
        (("identity-1",), "bound"),
    ):
        with pytest.raises(UsageError, match=told):
            replicas_lost(kube, "idm", *names)


# The procedures


class Bucket:
    bucket = "b"

    def __init__(self):
        self.objects = {}

    def client(self):
        return self

    def keys(self, prefix=""):
        return [key for key in self.objects if key.startswith(prefix)]

    def put_object(self, Bucket, Key, Body):  # noqa: N803 - boto3's names
        self.objects[Key] = Body

    def get_object(self, Bucket, Key):  # noqa: N803 - boto3's names
        return {"Body": SimpleNamespace(read=lambda: self.objects[Key])}


POD = {
    "securityContext": {"runAsUser": 999},
    "containers": [
        {"name": "server", "image": "server:1", "imagePullPolicy": "IfNotPresent", "volumeMounts": [], "env": []}
    ],
    "volumes": [{"name": "config"}],
}


class Calm:
    """A cluster in which all that is waited for has happened."""

    def __init__(self):
        self.did, self.phase = [], "Succeeded"
        self.configuration = {f"server-{number}.toml": f"domain = {number}\n" for number in range(2)}

    def wait_for(self, kind, name, namespace, *, condition, what, within_s):
        self.did.append(f"wait: {what}")

    def list(self, kind, namespace, labels=""):
        return []

    def get(self, kind, name, namespace):
        return {
            "ConfigMap": {"data": self.configuration},
            "Pod": {"metadata": {}, "status": {"phase": self.phase}},
            "StatefulSet": {"spec": {"template": {"spec": POD}}},
        }[kind]

    def logs(self, pod, namespace):
        return "the reason"

    def apply(self, made, namespace):
        (container,) = made["spec"]["containers"]
        claims = [one["persistentVolumeClaim"]["claimName"] for one in made["spec"]["volumes"] if len(one) > 1]
        self.did.append(f"pod on {claims[0]}: {container['image']} {' '.join(container['command'])}")

    def patch(self, kind, name, patch, namespace):
        self.configuration |= patch["data"]


class Shell:
    """kubectl, which answers by what it is asked for."""

    def __init__(self, did, **answers):
        self.did, self.answers, self.unlogged = did, answers, []

    def run(self, argv, *, timeout_s, input=None, logged=True, fails_as=ProcedureFailed):
        words = " ".join(argv[5:])  # after the program, its kubeconfig and the namespace
        self.did.append(words + (f" < {input}" if input else ""))
        answer = next((text for part, text in self.answers.items() if part in words), "")
        if not logged:
            self.unlogged.append(words)
        return Completed(list(argv), 0, "" if "certificate" in words else answer, answer, 0.0)


CSN = "contextCSN: 20261121120000.000000Z#000000#{0}#000000\ndn: x\n"


def server_of(kind, drill: Drill, tmp_path, **answers):
    kube, bucket = Calm(), Bucket()
    shell = Shell(kube.did, **answers)
    drill.commands = shell
    more = {"shell_image": "shell:1"} if kind is KanidmServer else {}
    return kube, shell, bucket, kind(drill, kube, tmp_path / "kubectl", tmp_path / "k", "idm", bucket, "p", **more)


def openldap(drill, tmp_path):
    return server_of(OpenLDAP, drill, tmp_path, slapcat="dn: dc=drills", contextCSN=CSN.format("001"))


FILL_1 = "slapadd -q -w -f /etc/identity/slapd-1.conf; touch /data/seeded < dn: dc=drills"
FILL_0 = FILL_1.replace("-1", "-0")


def steps(drill):
    return [event.fields["name"] for event in drill.history.events("step") if event.fields["state"] == "ended"]


def at(did, part):
    (place,) = [number for number, one in enumerate(did) if part in one]
    return place


def test_a_replica_of_openldap_is_seeded_from_the_other_one(make, tmp_path):  # noqa: F811
    drill = make()
    kube, shell, _, server = openldap(drill, tmp_path)
    server.seed_again("identity-1")
    assert at(kube.did, "waits for data") < at(kube.did, "exec identity-0 -- slapcat") < at(kube.did, FILL_1)
    assert kube.did[at(kube.did, FILL_1)].startswith(
        "exec -i identity-1 -- sh -ec [ ! -e /data/seeded ]; rm -rf /data/db"
    )
    assert steps(drill)[-1] == "identity-1 has caught up"
    assert [words for words in shell.unlogged if "slapcat" in words], "a directory holds everybody's password's hash"
    server.seed_again("identity-0")
    assert at(kube.did, "exec identity-1 -- slapcat") < at(kube.did, FILL_0)


def test_a_replica_that_lacks_a_change_has_not_caught_up(make, tmp_path):  # noqa: F811
    _, shell, _, server = openldap(make(), tmp_path)
    shell.answers = {"exec identity-1 -- ldapsearch": CSN.format("002"), **shell.answers}
    shown = iter([CSN.format("002")] * 2 + [CSN.format("001")])
    original = shell.run

    def later(argv, **options):
        if "identity-1" in argv and "ldapsearch" in argv:
            shell.answers["exec identity-1 -- ldapsearch"] = next(shown)
        return original(argv, **options)

    shell.run = later
    server.seed_again("identity-1")
    assert next(shown, None) is None, "it was asked until it had what the other one has"


def test_a_replica_that_tells_no_state_cannot_be_compared_with(make, tmp_path):  # noqa: F811
    _, shell, _, server = openldap(make(), tmp_path)
    shell.answers["contextCSN"] = "dn: dc=drills,dc=test"
    with pytest.raises(ProcedureFailed, match="identity-0 shows no contextCSN"):
        server.seed_again("identity-1")


def test_openldap_is_begun_when_each_replica_has_what_is_changed_on_either(make, tmp_path):  # noqa: F811
    _, shell, _, server = openldap(make(), tmp_path)
    before, one_way, both_ways = CSN.format("000"), CSN.format("001"), CSN.format("001") + CSN.format("002")
    seen = iter([before, before, one_way, both_ways, *[both_ways] * 5])
    ask, changed = shell.run, []

    def run(argv, **options):
        words = " ".join(argv)
        if "contextCSN" in words:
            shell.answers["contextCSN"] = next(seen)
        elif "ldapmodify" in words:
            changed.append((argv[7], options["input"].splitlines()[-1]))
        return ask(argv, **options)

    shell.run = run
    server.begin("dn: dc=drills")
    assert [replica for replica, _ in changed] == ["identity-0", "identity-1"] * 2
    assert len(set(changed)) == 4, "a change that changes nothing is not replicated"
    assert list(seen) == [both_ways], "looked until both had both, then once more"


def test_openldap_is_restored_while_no_replica_runs(make, tmp_path):  # noqa: F811
    drill = make()
    kube, _, bucket, server = openldap(drill, tmp_path)
    key = server.back_up()
    assert bucket.objects[key] == b"dn: dc=drills"
    assert server.newest() == key
    server.restore(key)
    order = [
        "identity-1 runs, and waits", "scale statefulset/identity --replicas=0",
        "pod on data-identity-0: server:1 sleep infinity",
        "exec -i identity-restore", "delete pod identity-restore --now", "scale statefulset/identity --replicas=2",
        "identity-0 is ready", FILL_1,
    ]  # fmt: skip
    places = [min(n for n, one in enumerate(kube.did) if part in one) for part in order]
    assert places == sorted(places)
    assert FILL_0 in kube.did[at(kube.did, "exec -i identity-restore")]
    (backup,) = drill.history.events("backup")
    assert backup.fields["backup_kind"] == "slapcat"
    assert len(backup.fields["identity"]["sha256"]) == 64


def test_sabotaged_nothing_is_put_into_a_volume(make, tmp_path):  # noqa: F811
    drill = make(sabotage=["procedure"])
    kube, _, _, server = openldap(drill, tmp_path)
    server.seed_again("identity-1")
    server.restore(server.back_up())
    assert not [one for one in kube.did if "slapadd" in one]


@pytest.mark.parametrize("spoil", [lambda objects, key: objects.update({key: b"other"}), lambda objects, key: None])
def test_a_backup_that_is_not_the_one_that_was_taken_is_refused(make, tmp_path, spoil):  # noqa: F811
    kube, _, bucket, server = openldap(make(), tmp_path)
    key = server.back_up()
    spoil(bucket.objects, key)
    if bucket.objects[key] == b"dn: dc=drills":
        key = "p/never-noted.ldif"
        bucket.objects[key] = b"dn: dc=drills"
    with pytest.raises(ProcedureFailed, match="has sha256"):
        server.restore(key)
    assert not [one for one in kube.did if "scale" in one], "nothing was stopped for it"


def test_without_a_backup_there_is_nothing_to_restore(make, tmp_path):  # noqa: F811
    _, _, _, server = openldap(make(), tmp_path)
    with pytest.raises(ProcedureFailed, match="no backup under p/"):
        server.newest()


def kanidm_server(drill, tmp_path, **answers):
    given = {
        "identity-0 -- kanidmd show": 'INFO certificate: "MIIzero_=="',
        "identity-1 -- kanidmd show": 'INFO certificate: "MIIone-"',
        "recover-account": 'starting\n{"output":"secret","status":"ok"}\n',
        "scripting backup": '{"version": 1}',
        "refresh-replication-consumer": "INFO success",
    }
    return server_of(KanidmServer, drill, tmp_path, **(given | answers))


PARTNERS = tuple(
    f'domain = {own}\n[replication."repl://identity-{other}.identity-replicas:8444"]\n'
    f'type = "mutual-pull"\npartner_cert = "{certificate}"\n'
    for own, other, certificate in ((0, 1, "MIIone-"), (1, 0, "MIIzero_=="))
)


def test_replicas_of_kanidm_are_introduced_to_each_other_and_one_takes_over_the_others_data(make, tmp_path):  # noqa: F811
    drill = make()
    kube, _, _, server = kanidm_server(drill, tmp_path)
    kube.configuration["server-0.toml"] += '[replication."repl://old"]\npartner_cert = "old"\n'
    server.seed_again("identity-1")
    assert tuple(kube.configuration.values()) == PARTNERS
    refreshed = at(
        kube.did, "exec identity-1 -- kanidmd refresh-replication-consumer --i-want-to-refresh-this-servers-database"
    )
    assert at(kube.did, "rollout restart statefulset/identity") < refreshed
    assert not [one for one in kube.did if "identity-0 -- kanidmd refresh" in one], "that would empty the good one"


def test_kanidm_is_begun_with_an_administrator_whose_password_is_not_logged(make, tmp_path):  # noqa: F811
    _, shell, _, server = kanidm_server(make(), tmp_path)
    assert server.begin() == "secret"
    assert shell.unlogged == ["exec identity-0 -- kanidmd scripting recover-account idm_admin"]
    shell.answers["recover-account"] = '{"status":"error"}'
    with pytest.raises(EnvironmentFailed, match="gave idm_admin no password"):
        server.begin()


def test_a_replica_that_shows_no_certificate_is_a_failure(make, tmp_path):  # noqa: F811
    _, _, _, server = kanidm_server(make(), tmp_path, **{"identity-1 -- kanidmd show": "cannot connect"})
    with pytest.raises(ProcedureFailed, match="identity-1 shows no certificate: cannot connect"):
        server.seed_again("identity-1")


def test_a_refresh_that_does_not_say_success_is_a_failure(make, tmp_path):  # noqa: F811
    _, _, _, server = kanidm_server(make(), tmp_path, **{"refresh-replication-consumer": "Error - see the logs"})
    with pytest.raises(ProcedureFailed, match="identity-1 was not refreshed: Error"):
        server.seed_again("identity-1")


def test_kanidm_is_restored_by_its_own_program_in_a_second_pod(make, tmp_path):  # noqa: F811
    kube, _, _, server = kanidm_server(make(), tmp_path)
    server.restore(server.back_up())
    order = [
        "scale statefulset/identity --replicas=0", "pod on data-identity-0: shell:1 sleep infinity",
        'cat > /data/restore.backup < {"version": 1}',
        "pod on data-identity-0: server:1 /sbin/kanidmd database restore /data/restore.backup",
        "identity-restore has ended", "scale statefulset/identity --replicas=2", "identity-1 -- kanidmd refresh",
    ]  # fmt: skip
    places = [at(kube.did, part) for part in order]
    assert places == sorted(places)


def test_a_restore_that_kanidm_refuses_is_a_failure_with_its_reason(make, tmp_path):  # noqa: F811
    kube, _, _, server = kanidm_server(make(), tmp_path)
    kube.phase = "Failed"
    with pytest.raises(ProcedureFailed, match="identity-restore: Failed: the reason"):
        server.restore(server.back_up())


def test_sabotaged_kanidm_neither_restores_nor_refreshes(make, tmp_path):  # noqa: F811
    kube, _, _, server = kanidm_server(make(sabotage=["procedure"]), tmp_path)
    server.restore(server.back_up())
    assert not [one for one in kube.did if "database restore" in one or "refresh" in one]
