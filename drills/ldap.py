"""As much of LDAP (RFC 4511) as a user's login and a change need.

The protocol is spoken here, over asyncio, because every reading and every write has a deadline that holds whatever the
server does, and no library has both that and wheels for Linux: ldap3 had its last release in 2021 and waits in blocking
sockets by whole seconds; python-ldap and bonsai are kept well and must be compiled against OpenLDAP's own headers.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator

from drills.identity import Refused

_LARGEST_MESSAGE = 1 << 20

# Tags: of the kinds of message in RFC 4511 (APPLICATION), and of ASN.1's own types.
_BIND, _BOUND, _UNBIND, _SEARCH, _ENTRY, _FOUND, _ADD, _ADDED = 0x60, 0x61, 0x42, 0x63, 0x64, 0x65, 0x68, 0x69
_BOOLEAN, _INTEGER, _STRING, _ENUMERATED, _SEQUENCE, _SET = 0x01, 0x02, 0x04, 0x0A, 0x30, 0x31
_PASSWORD, _PRESENT = 0x80, 0x87  # a simple login's password; the filter that takes every entry with an attribute

_CODES = {
    32: "no such object", 49: "invalid credentials", 50: "insufficient access rights", 51: "busy", 52: "unavailable",
    53: "unwilling to perform", 68: "entry already exists",
}  # fmt: skip


class Directory:
    """A directory, as one user meets it whose changes are entries below one of its entries.

    An entry's name is the change's number, so there is no second one; its content is in the attribute `description`.
    """

    def __init__(self, user: str, password: str, changes: str) -> None:
        """Say who the user is; nothing is sent yet.

        Args:
            user: the name by which the user logs in.
            password: that user's.
            changes: the entry that the changes are below.

        """
        self._user = user
        self._password = password
        self._changes = changes

    @contextlib.asynccontextmanager
    async def login(self, host: str, port: int) -> AsyncIterator[Session]:
        """Connect and log in, as a user does anew each time; the caller bounds the time.

        Raises:
            Refused: the directory does not let this user in.
            OSError: nobody answers, or no directory does.
        """
        session = Session(*await asyncio.open_connection(host, port), self._changes)
        try:
            await session.bind(self._user, self._password)
            yield session
        finally:
            session.close()


class Session:
    """A connection on which a user is logged in; see `Directory.login`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, changes: str) -> None:
        self._reader = reader
        self._writer = writer
        self._changes = changes
        self._numbers = itertools.count(1)

    async def bind(self, user: str, password: str) -> None:
        """Log in; raises Refused or OSError."""
        await self._answer_to(_tlv(_BIND, _number(3) + _text(user) + _text(password, _PASSWORD)), _BOUND)

    async def put(self, name: str, content: str) -> None:
        """Make a change; raises Refused, or OSError, after which it may be there or not."""
        attributes = {"objectClass": "device", "cn": name, "description": content}
        listed = (_tlv(_SEQUENCE, _text(kind) + _tlv(_SET, _text(value))) for kind, value in attributes.items())
        entry = _text(f"cn={name},{self._changes}") + _tlv(_SEQUENCE, b"".join(listed))
        await self._answer_to(_tlv(_ADD, entry), _ADDED)

    async def changes(self) -> dict[str, str]:
        """Return all changes, content by name; raises Refused or OSError."""
        scope, aliases, limits, types_only = (
            _number(1, _ENUMERATED), _number(0, _ENUMERATED), _number(0) * 2, _number(0, _BOOLEAN)
        )  # fmt: skip
        wanted = _tlv(_SEQUENCE, _text("cn") + _text("description"))
        asked = _text(self._changes) + scope + aliases + limits + types_only + _text("cn", _PRESENT) + wanted
        found = {}
        for _, attributes in map(_parts, await self._answer_to(_tlv(_SEARCH, asked), _FOUND)):
            pairs = (_parts(pair) for pair in _parts(attributes))
            one = {kind.decode(): _parts(values)[0].decode() for kind, values in pairs}
            found[one.get("cn", "")] = one.get("description", "")
        return found

    def close(self) -> None:
        """Take leave, and close the connection without waiting for anybody."""
        with contextlib.suppress(OSError):
            self._writer.write(_message(next(self._numbers), _tlv(_UNBIND, b"")))
        self._writer.close()

    async def _answer_to(self, request: bytes, wanted: int) -> list[bytes]:
        """Send a request; return the entries that come before its answer, which must be of the wanted kind."""
        asked = next(self._numbers)
        self._writer.write(_message(asked, request))
        entries: list[bytes] = []
        try:
            while True:
                (_, number), (kind, content), *_ = _items(await self._message())
                if int.from_bytes(number) != asked:  # 0 is a notice of disconnection
                    raise ConnectionResetError(f"answered message {int.from_bytes(number)} where {asked} was asked")
                if kind == wanted:
                    code, _, text = _parts(content)[:3]
                    break
                if kind == _ENTRY:
                    entries.append(content)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("connection closed before the answer was whole") from error
        except (ValueError, IndexError) as error:
            raise ConnectionResetError(f"not an LDAP answer ({error})") from error
        if result := int.from_bytes(code):
            told = text.decode(errors="replace")
            raise Refused(f"{_CODES.get(result, 'result')} ({result})" + (f": {told}" if told else ""))
        return entries

    async def _message(self) -> bytes:
        _, first = await self._reader.readexactly(2)
        length = int.from_bytes(await self._reader.readexactly(first & 0x7F)) if first & 0x80 else first
        if length > _LARGEST_MESSAGE:
            raise ValueError(f"a message of {length} bytes")
        return await self._reader.readexactly(length)


# BER, the part of it that RFC 4511 (5.1) leaves: definite lengths, one byte a tag.


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content


def _number(value: int, tag: int = _INTEGER) -> bytes:
    return _tlv(tag, value.to_bytes(value.bit_length() // 8 + 1))


def _text(value: str, tag: int = _STRING) -> bytes:
    return _tlv(tag, value.encode())


def _message(number: int, request: bytes) -> bytes:
    return _tlv(_SEQUENCE, _number(number) + request)


def _items(content: bytes) -> list[tuple[int, bytes]]:
    """Take apart what a constructed value holds: tag and content of each part."""
    found, at = [], 0
    while at < len(content):
        tag, size, at = content[at], content[at + 1], at + 2
        if size & 0x80:
            digits = size & 0x7F
            size, at = int.from_bytes(content[at : at + digits]), at + digits
        if at + size > len(content):
            raise ValueError("a part is longer than the whole")
        found.append((tag, content[at : at + size]))
        at += size
    return found


def _parts(content: bytes) -> list[bytes]:
    return [part for _, part in _items(content)]
