"""Ports for servers that must be told one."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def kept_port() -> Iterator[int]:
    """Give a port of loopback that goes to no other program meanwhile, even while its server does not run.

    Bound with SO_REUSEADDR and not listened on, it can be had by a server that sets the same and is told the number,
    as PostgreSQL and Go's programs do, but the kernel hands it to nobody who asks for any free port.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
