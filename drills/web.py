"""HTTP as probes and ledgers speak it: one question on a connection of its own, as a new user has, and its answer.

The caller bounds the time: whatever the server does, a question that is cancelled leaves no connection behind.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping

from drills.errors import BadReading

LARGEST_BODY = 1 << 20


async def ask(
    entry: tuple[str, int],
    path: str,
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: str = "",
    largest: int = LARGEST_BODY,
) -> tuple[int, str]:
    """Send a request and return the status and the body of its answer.

    Args:
        entry: host and port.
        path: what is asked for, with its query.
        method: GET, POST ...
        headers: besides Host, User-Agent, Connection and Content-Length.
        body: of the request.
        largest: bytes of the answer's body after which it is cut off.

    Raises:
        BadReading: what came is not a whole HTTP answer.
        OSError: the connection was refused, or did not last.
    """
    reader, writer = await asyncio.open_connection(*entry)
    try:
        told = {"Host": f"{entry[0]}:{entry[1]}", "User-Agent": "pytest-drills", "Connection": "close"} | (
            dict(headers) if headers else {}
        )
        content = body.encode()
        if content:
            told["Content-Length"] = str(len(content))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items()), "", ""]
        writer.write("\r\n".join(lines).encode() + content)
        return await _answer(reader, largest)
    finally:
        writer.close()


def basic(user: str, password: str) -> dict[str, str]:
    """Return the header by which a user logs in (RFC 7617)."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


async def _answer(reader: asyncio.StreamReader, largest: int) -> tuple[int, str]:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split(" ", 2)[1])
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = await _chunks(reader, largest)
        elif "content-length" in headers:
            # Not to the end of the stream: a proxy that keeps the connection open would make every answer a late one.
            body = await reader.readexactly(min(int(headers["content-length"]), largest))
        else:
            body = await reader.read(largest)
    except asyncio.IncompleteReadError as error:
        raise BadReading("connection closed before the answer was whole") from error
    except (ValueError, IndexError, asyncio.LimitOverrunError) as error:
        raise BadReading(f"not an HTTP answer ({error})") from error
    return status, body.decode("utf-8", errors="replace")


async def _chunks(reader: asyncio.StreamReader, largest: int) -> bytes:
    body = b""
    while (size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)) and len(body) < largest:
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    return body
