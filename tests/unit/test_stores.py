"""The stores against a real PostgreSQL (where its binaries are) and a real local API server."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import psycopg
import pytest

from drills.errors import UsageError, WriteRefused
from drills.kube import Kube
from drills.ledger import GENESIS, Row
from drills.stores import GRACE_S, ConfigMapLedger, MissingData, PostgresLedger

from ..ports import kept_port
from .fake_apiserver import Answer, FakeApiServer

SLACK_S = GRACE_S + 0.5
USER, PASSWORD, DATABASE = "shop", "s3cret-of-the-shop", "shop"


def chain(count: int) -> list[Row]:
    rows: list[Row] = []
    for seq in range(1, count + 1):
        rows.append(Row.chained(seq, rows[-1].digest if rows else GENESIS, f"order {seq}", "2026-11-21T09:33:06.123Z"))
    return rows


ROWS = chain(9)


class Postgres:
    """A throw-away server on loopback, run as another user where this one is root."""

    def __init__(self, binaries: Path, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._binaries = binaries
        self._as: list[str] = []
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self._as = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        self._run("initdb", "-D", "data", "-U", "admin", "--auth-local=trust", "--auth-host=scram-sha-256", "-N")
        with (self.folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write(f"listen_addresses='127.0.0.1'\nport={self.port}\nunix_socket_directories='{self.folder}'\n")
        self.start()
        self.admin("CREATE ROLE shop LOGIN PASSWORD 's3cret-of-the-shop'", "CREATE DATABASE shop OWNER shop")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._as, str(self._binaries / program), *arguments],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,  # a pipe would be inherited by the server, and never end
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
        if done.returncode:
            log = self.folder / "log"
            raise RuntimeError(f"{program} failed: {log.read_text() if log.exists() else 'no log'}")

    def start(self) -> None:
        self._run("pg_ctl", "-D", "data", "-l", "log", "-w", "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "stop")

    def admin(self, *statements: str, dbname: str = "postgres") -> None:
        with psycopg.connect(
            host=str(self.folder), port=self.port, user="admin", dbname=dbname, autocommit=True
        ) as one:
            for statement in statements:
                one.execute(statement)


def postgres_binaries() -> Path | None:
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found and (found[-1] / "initdb").exists() else None


@pytest.fixture(scope="module")
def postgres():
    binaries = postgres_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server binaries (initdb) on this machine; Debian: apt-get install postgresql")
    with kept_port() as port, tempfile.TemporaryDirectory(prefix="drills-pg-") as folder:
        server = Postgres(binaries, Path(folder), port)
        yield server
        server.stop()


class Relay:
    """A node's way in: passes bytes to the server, until told to lose them."""

    def __init__(self, port: int) -> None:
        self.lose = False
        self.lose_answers_to = b""
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.entry = ("127.0.0.1", self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for one in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                try:
                    server = socket.create_connection(("127.0.0.1", self._port))
                except ConnectionRefusedError:
                    client.close()
                    continue
                self._open += [client, server]
                threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, asking: bool) -> None:
        mute = False
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if asking and self.lose_answers_to and self.lose_answers_to in data:
                    self.lose = mute = True  # this question still passes; no answer does
                    sink.sendall(data)
                elif not self.lose and not mute:
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def ways(postgres):
    relays = [Relay(postgres.port) for _ in range(3)]
    yield relays
    for relay in relays:
        relay.close()


@pytest.fixture
def ledger(postgres, ways):
    store = PostgresLedger([way.entry for way in ways], DATABASE, USER, PASSWORD, read_timeout_s=5)
    store.create_schema()
    yield store
    store.close()
    postgres.admin("DROP TABLE IF EXISTS ledger", dbname="shop")


def timed(work, *arguments) -> tuple[float, Exception | None]:
    began = time.monotonic()
    try:
        work(*arguments)
    except WriteRefused as refusal:
        return time.monotonic() - began, refusal
    return time.monotonic() - began, None


def test_rows_come_back_as_they_were_written(ledger):
    for row in ROWS:
        ledger.append(row, 1.0)
    assert ledger.read() == ROWS


def test_a_row_is_there_for_everyone_once_append_returns(ledger, postgres):
    ledger.append(ROWS[0], 1.0)
    other = PostgresLedger([("127.0.0.1", postgres.port)], DATABASE, USER, PASSWORD)
    assert other.read() == ROWS[:1]
    other.close()


def test_no_transaction_is_left_open(ledger, postgres):
    ledger.append(ROWS[0], 1.0)
    ledger.read()
    with psycopg.connect(host=str(postgres.folder), port=postgres.port, user="admin", dbname="shop") as one:
        found = one.execute("SELECT state FROM pg_stat_activity WHERE application_name = 'pytest-drills'").fetchall()
    assert found == [("idle",)]


def test_duplicates_strangers_and_edits_are_read_as_they_are(ledger, postgres):
    for row in ROWS[:2]:
        ledger.append(row, 1.0)
    postgres.admin(
        "INSERT INTO ledger SELECT * FROM ledger WHERE seq = 1",
        "INSERT INTO ledger VALUES (77, 'x', 'stranger', 'y', 'z')",
        "UPDATE ledger SET payload = 'edited' WHERE seq = 2",
        dbname="shop",
    )
    found = ledger.read()
    assert [row.seq for row in found] == [1, 1, 2, 77]
    assert found[0] == found[1] == ROWS[0]
    assert found[2].payload == "edited"
    assert ledger.delete(1) == 2
    assert ledger.delete(1) == 0


def test_a_server_that_hangs_refuses_the_row_in_time_and_the_next_goes_by_another_way(ledger, ways):
    ledger.append(ROWS[0], 1.0)
    ways[0].lose = True

    took_s, refusal = timed(ledger.append, ROWS[1], 1.0)
    assert "no answer within 1 s" in str(refusal)
    assert 1.0 <= took_s < 1.0 + SLACK_S

    took_s, refusal = timed(ledger.append, ROWS[2], 1.0)
    assert refusal is None
    assert took_s < 0.5
    assert [row.seq for row in ledger.read()] == [1, 3]


def test_entries_that_accept_and_never_answer_share_the_time(ledger, ways):
    ways[0].lose = ways[1].lose = True
    ledger.close()
    fresh = PostgresLedger([way.entry for way in ways], DATABASE, USER, PASSWORD)
    took_s, refusal = timed(fresh.append, ROWS[0], 1.5)
    assert refusal is None
    assert took_s < 1.5
    fresh.close()


def test_when_no_entry_answers_a_row_is_refused_in_time_however_often(ledger, ways):
    ledger.append(ROWS[0], 1.0)
    for way in ways:
        way.lose = True
    for row in ROWS[1:5]:
        took_s, refusal = timed(ledger.append, row, 0.6)
        assert refusal is not None
        assert took_s < 0.6 + SLACK_S
    for way in ways:
        way.lose = False
    # Connections made while packets were lost stay deaf; a way in is good again once a new one is made through it.
    assert any(timed(ledger.append, row, 1.0)[1] is None for row in ROWS[5:])


def test_refused_connections_fail_over_at_once(ledger, ways):
    ledger.append(ROWS[0], 1.0)
    ways[0].close()
    _, refusal = timed(ledger.append, ROWS[1], 1.0)  # cut in the middle: outcome unknown
    assert refusal is not None
    took_s, refusal = timed(ledger.append, ROWS[2], 1.0)
    assert refusal is None
    assert took_s < 0.5


def test_a_commit_without_answer_is_refused_though_the_row_landed(ledger, ways):
    ledger.append(ROWS[0], 1.0)
    ways[0].lose_answers_to = b"COMMIT"
    took_s, refusal = timed(ledger.append, ROWS[1], 1.0)
    assert refusal is not None
    assert took_s < 1.0 + SLACK_S
    assert [row.seq for row in ledger.read()] == [1, 2]


def test_a_row_behind_a_lock_is_refused_in_time_and_does_not_land_later(ledger, postgres):
    ledger.append(ROWS[0], 1.0)
    with psycopg.connect(host=str(postgres.folder), port=postgres.port, user="admin", dbname="shop") as holder:
        holder.execute("LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE")
        took_s, refusal = timed(ledger.append, ROWS[1], 0.5)
        assert refusal is not None
        assert took_s < 0.5 + SLACK_S
        time.sleep(0.5)
    assert [row.seq for row in ledger.read()] == [1]


def test_a_server_killed_and_started_again_keeps_every_acknowledged_row(ledger, postgres):
    acknowledged = [row for row in ROWS[:4] if timed(ledger.append, row, 1.0)[1] is None]
    postgres.stop()
    assert timed(ledger.append, ROWS[4], 1.0)[1] is not None
    postgres.start()
    assert timed(ledger.append, ROWS[5], 1.0)[1] is None
    assert ledger.read() == [*acknowledged, ROWS[5]]


def test_reading_waits_for_a_server_that_comes_back(ledger, postgres):
    ledger.append(ROWS[0], 1.0)
    postgres.stop()
    threading.Timer(1.0, postgres.start).start()
    assert ledger.read() == ROWS[:1]


def test_reading_from_nobody_ends_at_its_deadline(ways):
    for way in ways:
        way.lose = True
    store = PostgresLedger([way.entry for way in ways], DATABASE, USER, PASSWORD, read_timeout_s=2)
    took_s, refusal = timed(store.read)
    assert "no answer within 2 s" in str(refusal)
    assert took_s < 2 + 2 * SLACK_S
    store.close()


def test_missing_table_and_database_are_told_apart_from_silence(ledger, postgres):
    postgres.admin("DROP TABLE ledger", dbname="shop")
    with pytest.raises(MissingData, match="ledger"):
        ledger.read()
    with pytest.raises(MissingData):
        ledger.append(ROWS[0], 1.0)
    nowhere = PostgresLedger([("127.0.0.1", postgres.port)], "nowhere", USER, PASSWORD)
    with pytest.raises(MissingData, match="nowhere"):
        nowhere.read()
    nowhere.close()


def test_the_password_is_in_no_message(postgres):
    store = PostgresLedger([("127.0.0.1", postgres.port)], DATABASE, USER, "wr0ng-passw0rd", read_timeout_s=0.5)
    with pytest.raises(WriteRefused) as refusal:
        store.read()
    assert "wr0ng" not in f"{refusal.value} {store!r}"
    store.close()
    store.close()


def test_a_ledger_needs_an_entry():
    with pytest.raises(UsageError, match="entries"):
        PostgresLedger([], DATABASE, USER, PASSWORD)


# ConfigMaps


@pytest.fixture
def api():
    server = FakeApiServer()
    server.put("/api/v1/namespaces", {"metadata": {"name": "shop"}})
    yield server
    server.stop()


@pytest.fixture
def config_maps(api, tmp_path):
    return ConfigMapLedger(Kube(api.kubeconfig(tmp_path)), "shop", "orders")


def test_config_maps_come_back_as_they_were_written(config_maps):
    for row in ROWS:
        config_maps.append(row, 1.0)
    assert config_maps.read() == ROWS
    assert config_maps.delete(3) == 1
    assert config_maps.delete(3) == 0
    assert [row.seq for row in config_maps.read()] == [1, 2, 4, 5, 6, 7, 8, 9]


def test_an_api_server_that_hangs_refuses_or_knows_nobody_refuses_the_row_in_time(api, config_maps):
    api.script.append(Answer(403, {}, {"reason": "Forbidden", "message": "who are you"}))
    assert "who are you" in str(timed(config_maps.append, ROWS[0], 1.0)[1])
    api.hang_s = 30
    took_s, refusal = timed(config_maps.append, ROWS[1], 0.5)
    assert refusal is not None
    assert took_s < 0.5 + SLACK_S
    api.refuse()
    assert timed(config_maps.append, ROWS[2], 1.0)[1] is not None
    with pytest.raises(WriteRefused):
        config_maps.read()
    with pytest.raises(WriteRefused):
        config_maps.delete(1)


def test_a_number_taken_by_a_stranger_is_refused(config_maps):
    config_maps.append(ROWS[0], 1.0)
    with pytest.raises(WriteRefused, match="409"):
        config_maps.append(ROWS[0], 1.0)


def test_duplicates_and_edits_of_config_maps_show(api, config_maps):
    config_maps.append(ROWS[0], 1.0)
    path = "/api/v1/namespaces/shop/configmaps"
    copied = api.objects[path, "orders-00000001"]
    api.put(path, {**copied, "metadata": {**copied["metadata"], "name": "copy"}})
    api.put(path, {"metadata": {"name": "odd", "labels": {"drills.dev/ledger": "orders"}}, "data": {"seq": "many"}})
    api.put(path, {"metadata": {"name": "another", "labels": {"app": "x"}}})
    assert config_maps.read() == [Row(-1, "", "", "", ""), ROWS[0], ROWS[0]]


def test_a_namespace_that_is_gone_is_missing_data_and_not_an_empty_ledger(api, config_maps):
    assert config_maps.read() == []
    api.remove("/api/v1/namespaces", "shop")
    with pytest.raises(MissingData, match="shop"):
        config_maps.read()


@pytest.mark.parametrize(
    ("listed", "there", "said"),
    [
        ([0, 1], [0], r"lists 1 objects that are not there \(orders-00000002\) and hides 0 that are \(none\)"),
        ([0], [0, 1], r"lists 0 objects that are not there \(none\) and hides 1 that are \(orders-00000002\)"),
        ([1], [0], r"lists 1 .*orders-00000002.* hides 1 .*orders-00000001"),
    ],
)
def test_a_list_that_contradicts_the_objects_themselves_is_no_data(api, config_maps, listed, there, said):
    """What an API server does that ran on while etcd was restored under it."""
    path = "/api/v1/namespaces/shop/configmaps"
    for row in ROWS[:2]:
        config_maps.append(row, 1.0)
    every = [api.objects[path, f"orders-0000000{n}"] for n in (1, 2)]
    for n in {0, 1} - set(there):
        api.remove(path, every[n]["metadata"]["name"])
    api.script.append(Answer(200, {}, api.objects["/api/v1/namespaces", "shop"]))
    answer = {"kind": "ConfigMapList", "metadata": {"resourceVersion": "9"}, "items": [every[n] for n in listed]}
    api.script.append(Answer(200, {}, answer))
    with pytest.raises(WriteRefused, match=said):
        config_maps.read()
    assert [row.seq for row in config_maps.read()] == [n + 1 for n in there], "and the next list tells the truth"
