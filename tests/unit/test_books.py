"""A copy of a live database that starts and answers, and is not what it seems: what finds it, on real PostgreSQL."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from drills.books import BOOKS_BALANCE, INDEXES_AGREE, TABLES_ARE_WHOLE, Books
from drills.errors import WriteRefused

from ..ports import kept_port
from .test_stores import Postgres, chain, postgres_binaries

ALL = {INDEXES_AGREE: True, TABLES_ARE_WHOLE: True, BOOKS_BALANCE: True}


@pytest.fixture(scope="module")
def binaries():
    found = postgres_binaries()
    if found is None:
        pytest.skip("no PostgreSQL server binaries (initdb) on this machine; Debian: apt-get install postgresql")
    return found


@pytest.fixture(scope="module")
def running(binaries):
    with kept_port() as port, tempfile.TemporaryDirectory(prefix="drills-pg-") as folder:
        one = Postgres(binaries, Path(folder), port)
        one.admin("ALTER ROLE shop SUPERUSER")
        yield one
        one.stop()


@pytest.fixture
def server(running):
    running.admin("DROP DATABASE shop WITH (FORCE)", "CREATE DATABASE shop OWNER shop")
    return running


def books(port, **options):
    return closing(Books([("127.0.0.1", port)], "shop", "shop", "s3cret-of-the-shop", items=2000, **options))


def sell(store, count, before=0):
    for row in chain(before + count)[before:]:
        store.append(row, 2.0)


def outcome(store):
    return {finding.name: finding.ok for finding in store.audit()}


def files_of(server, relation):
    with psycopg.connect(host=str(server.folder), port=server.port, user="admin", dbname="shop") as one:
        return server.folder / "data" / one.execute("SELECT pg_relation_filepath(%s)", (relation,)).fetchone()[0]


@contextmanager
def copied(server, *first, between):
    """Start a copy of a live server of which some files were read before `between`, and all the others after it."""
    with kept_port() as port, tempfile.TemporaryDirectory(prefix="drills-pg-copy-") as folder:
        target = Path(folder) / "data"
        early = {path: path.read_bytes() for path in first}
        between()
        shutil.copytree(server.folder / "data", target, ignore=shutil.ignore_patterns("postmaster.*"))
        for path, content in early.items():
            (target / path.relative_to(server.folder / "data")).write_bytes(content)
        with (target / "postgresql.conf").open("a") as settings:
            settings.write(f"port={port}\nunix_socket_directories='{folder}'\n")
        for path in [Path(folder), *Path(folder).rglob("*")]:
            shutil.chown(path, "postgres", "postgres")
        target.chmod(0o700)
        copy = Postgres.__new__(Postgres)
        copy.folder, copy.port, copy._binaries, copy._as = Path(folder), port, server._binaries, server._as
        copy.start()
        try:
            yield copy
        finally:
            copy.stop()


def test_books_that_nothing_happened_to_balance(server):
    with books(server.port) as store:
        store.create_schema()
        store.create_schema()  # a second time changes nothing
        sell(store, 30)
        assert outcome(store) == ALL
        assert store.delete(7) == 1
        assert outcome(store) == ALL, "the goods of a deleted order are back"


def test_a_table_is_larger_than_the_buffers_of_the_shop(server):
    with books(server.port) as store:
        store.create_schema()
        ((size,),) = store.ask("SELECT pg_relation_size('stock')")
    assert size / 2000 * 16_000 > 8 * 1024 * 1024, "the shop has 1 MB of buffers"


@pytest.mark.parametrize(
    ("early", "found"),
    [
        # Rows were read before the checkpoint, goods after it: sums contradict each other, no page or index does.
        (["ledger", "ledger_seq"], {BOOKS_BALANCE}),
        # An index was read before the checkpoint, its table after it: sums agree, rows are not found by the index.
        (["stock_pkey", "stock_sold"], {INDEXES_AGREE}),
    ],
    ids=["rows before goods", "index before table"],
)
def test_a_live_copy_in_which_a_checkpoint_ended_starts_and_is_told_apart(server, early, found):
    with books(server.port) as store:
        store.create_schema()
        sell(store, 50)

        def busy():
            sell(store, 50, before=50)
            server.admin("CHECKPOINT")

        server.admin("CHECKPOINT")
        paths = [files_of(server, name) for name in early]
        with copied(server, *paths, between=busy) as copy, books(copy.port) as restored:
            # What people look at is well: it starts, answers, can be dumped; what was sold before the copy is there.
            assert len(restored.read()) >= 50
            dump = [
                (server._binaries / "initdb").resolve().with_name("pg_dump"),
                "-h",
                copy.folder,
                "-p",
                str(copy.port),
                "-U",
                "admin",
                "shop",
            ]
            assert subprocess.run([*server._as, *dump], stdout=subprocess.DEVNULL, check=False).returncode == 0
            wrong = {name for name, ok in outcome(restored).items() if not ok}
            assert wrong == found


def test_a_live_copy_with_all_of_its_wal_is_sound(server):
    with books(server.port) as store:
        store.create_schema()
        sell(store, 50)
        server.admin("CHECKPOINT")
        paths = [files_of(server, name) for name in ("ledger", "stock_pkey")]
        with (
            copied(server, *paths, between=lambda: sell(store, 50, before=50)) as copy,
            books(copy.port) as restored,
        ):
            assert outcome(restored) == ALL, "no checkpoint ended in the copy: WAL makes up for what is torn"
            assert len(restored.read()) == 100


def test_goods_that_are_gone_and_a_table_that_is_gone_are_found(server):
    with books(server.port) as store:
        store.create_schema()
        sell(store, 10)
        store.ask("DELETE FROM stock WHERE item = 5")
        (goods,) = (one for one in store.audit() if one.name == BOOKS_BALANCE)
        assert (goods.ok, goods.got) == (
            False,
            f"1999 items, {goods.got.split()[2]} goods, {goods.got.split()[4]} of them sold",
        )
        store.ask("DROP TABLE stock")
        assert outcome(store) == {**ALL, BOOKS_BALANCE: False}


def test_a_page_that_was_ruined_is_found(server):
    with books(server.port) as store:
        store.create_schema()
        path = files_of(server, "stock")
        server.admin("CHECKPOINT")
        server.stop()
        content = bytearray(path.read_bytes())
        content[2 * 8192 - 660 : 2 * 8192] = b"\xff" * 660  # the first row of the second page, its header included
        path.write_bytes(content)
        server.start()
        assert outcome(store)[TABLES_ARE_WHOLE] is False


def test_a_server_that_does_not_answer_is_no_finding(server):
    with books(server.port, read_timeout_s=1.0) as store:
        store.create_schema()
        server.stop()
        with pytest.raises(WriteRefused):
            store.audit()
        server.start()
