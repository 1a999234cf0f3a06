"""As much of Kanidm's own API as a user's login and a change need: JSON over HTTPS, one connection a session.

A login takes three requests, and a replica knows only the logins that it began, so they share a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any

from drills.identity import Refused
from drills.redaction import kept

PREFIX = "change_"
"""What the names of the groups begin with that stand for changes."""

_LOGIN = "x-kanidm-auth-session-id"
_LARGEST_BODY = 16 << 20


class Kanidm:
    """A Kanidm server, as one user meets it whose changes are new groups; a group's name is unique."""

    def __init__(self, user: str, password: str) -> None:
        """Say who the user is; nothing is sent yet.

        Args:
            user: the account's name; it must be allowed to make groups.
            password: its password, which must be all that it needs.

        """
        self._user = user
        self._password = password
        # The server made its certificate itself, when it started; who it is shows in what it knows.
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE

    @contextlib.asynccontextmanager
    async def login(self, host: str, port: int) -> AsyncIterator[Session]:
        """Connect and log in, as a user does anew each time; the caller bounds the time.

        Raises:
            Refused: the server does not let this user in.
            OSError: nobody answers, or no Kanidm does.
        """
        reader, writer = await asyncio.open_connection(host, port, ssl=self._tls)
        session = Session(reader, writer)
        try:
            await session.begin(self._user, self._password)
            yield session
        finally:
            writer.close()


class Session:
    """A connection on which a user is logged in; see `Kanidm.login`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._headers: dict[str, str] = {}

    async def begin(self, user: str, password: str) -> None:
        """Log in, with the right to change something; raises Refused or OSError."""
        first = {"init2": {"username": user, "issue": "token", "privileged": True}}
        answer: Any = {}
        for step in (first, {"begin": "password"}, {"cred": {"password": password}}):
            answer = await self._ask("POST", "/v1/auth", {"step": step})
        state = answer.get("state", {}) if isinstance(answer, dict) else {}
        if "success" not in state:
            raise Refused(f"not let in: {state.get('denied', 'no reason given')}")
        self._headers = {"authorization": f"Bearer {state['success']}"}

    async def put(self, name: str, content: str) -> None:
        """Make a change; raises Refused, or OSError, after which it may be there or not."""
        await self._ask("POST", "/v1/group", {"attrs": {"name": [PREFIX + name], "description": [content]}})

    async def changes(self) -> dict[str, str]:
        """Return all changes, content by name; raises Refused or OSError."""
        attributes = [one["attrs"] for one in await self._ask("GET", "/v1/group")]
        named = [(one["name"][0], one.get("description", [""])[0]) for one in attributes]
        return {name.removeprefix(PREFIX): content for name, content in named if name.startswith(PREFIX)}

    async def _ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        data = b"" if body is None else json.dumps(body).encode()
        headers = {
            "host": "kanidm", "content-type": "application/json", "content-length": str(len(data)), **self._headers
        }  # fmt: skip
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data)
        try:
            status, told, answer = await self._answer()
            if status != 200:
                raise Refused(f"{method} {path} was answered {status}: {kept(answer.decode(errors='replace'), 200)}")
            if _LOGIN in told:
                self._headers[_LOGIN] = told[_LOGIN]
            return json.loads(answer)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("connection closed before the answer was whole") from error
        except (ValueError, IndexError, asyncio.LimitOverrunError) as error:
            raise ConnectionResetError(f"not Kanidm's answer ({error})") from error

    async def _answer(self) -> tuple[int, Mapping[str, str], bytes]:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        told = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        body = b""
        if "chunked" in told.get("transfer-encoding", ""):
            while size := int((await self._reader.readuntil(b"\r\n")).split(b";")[0], 16):
                body += (await self._reader.readexactly(size + 2))[:-2]
                if len(body) > _LARGEST_BODY:
                    raise ValueError("an answer without end")
            await self._reader.readuntil(b"\r\n")
        elif length := int(told.get("content-length", "0")):
            body = await self._reader.readexactly(min(length, _LARGEST_BODY))
        return int(lines[0].split(" ", 2)[1]), told, body
