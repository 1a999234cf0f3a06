"""Samples a PostgreSQL that takes connections and hangs on every query; stops, or ends, in the middle of readings.

As a program of its own, because what is looked at is what comes out on its terminal: python hanging_postgres.py HOW
"""

import contextlib
import socket
import struct
import sys
import threading

from drills.history import History
from drills.probes import Sampler, postgres_probe

NO_ENCRYPTION = (80877103, 80877104)  # what a client asks first: SSL, GSSAPI
CANCEL = 80877102


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def answer(connection: socket.socket) -> None:
    """Let a client log in, and never answer it again."""
    with contextlib.suppress(OSError, struct.error):  # a client that has gone, before it said a word too
        while True:
            size, code = struct.unpack("!ii", connection.recv(8))
            if code not in NO_ENCRYPTION:
                break
            connection.sendall(b"N")
        if code != CANCEL:
            connection.recv(size - 8)
            told = {b"server_version": b"15.0", b"client_encoding": b"UTF8"}
            status = b"".join(message(b"S", name + b"\0" + value + b"\0") for name, value in told.items())
            key = message(b"K", struct.pack("!ii", 1, 2))
            connection.sendall(message(b"R", struct.pack("!i", 0)) + status + key + message(b"Z", b"I"))
        while connection.recv(4096):
            pass


def serve(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def main(how: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    threading.Thread(target=serve, args=(listener,), daemon=True).start()
    history = History()
    where = [listener.getsockname()]
    probe = postgres_probe("db", where, "d", "u", "p", interval_s=0.05, timeout_s=0.3)
    sampler = Sampler([probe], history, need=3)
    sampler.start()
    while len(history.events("reading")) < 5:
        threading.Event().wait(0.01)
    if how == "stop":
        sampler.stop()
    print(history.events("reading")[0].fields["why"])  # noqa: T201 - a program


if __name__ == "__main__":
    main(sys.argv[1])
