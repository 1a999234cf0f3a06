"""HTTP servers that go down by a script, and say exactly when: run as `python outage_server.py PLAN`.

PLAN is JSON: one list for each server of outages [pause before it, length, mode], in seconds. The servers' ports are
printed as one JSON line, then each outage as it ends with the instants on the machine's monotonic clock, which all
processes share: {"server", "mode", "down": [before, after], "up": [before, after]}. The last line is
{"stalled": seconds}: the longest time that this process itself stood still.

Modes: refuse (the port is closed), hang (connections are accepted and never answered), error (500), freeze (answered
late, when the outage ends).
"""

import asyncio
import contextlib
import json
import sys
import time

BEAT_S = 0.01


def tell(**facts):
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


class Server:
    def __init__(self):
        self.mode = ""
        self.resumed = asyncio.Event()
        self.listening = None
        self.port = 0

    async def listen(self):
        self.listening = await asyncio.start_server(self.answer, "127.0.0.1", self.port, backlog=512)
        self.port = self.listening.sockets[0].getsockname()[1]

    async def answer(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            mode = self.mode
            if mode == "hang":
                await asyncio.sleep(3600)
            if mode == "freeze":
                await self.resumed.wait()
            status = "500 Internal Server Error" if mode == "error" else "200 OK"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nup".encode())
            await writer.drain()
        writer.close()

    async def play(self, number, plan):
        for pause, length, mode in plan:
            await asyncio.sleep(pause)
            before = time.monotonic()
            self.resumed.clear()
            self.mode = mode
            if mode == "refuse":
                self.listening.close()
            down = [before, time.monotonic()]
            await asyncio.sleep(length)
            before = time.monotonic()
            self.mode = ""
            self.resumed.set()
            if mode == "refuse":
                await self.listen()
            tell(server=number, mode=mode, down=down, up=[before, time.monotonic()])


async def main(plans):
    stalled = 0.0

    async def beat():
        nonlocal stalled
        while True:
            due = time.monotonic() + BEAT_S
            await asyncio.sleep(BEAT_S)
            stalled = max(stalled, time.monotonic() - due)

    servers = [Server() for _ in plans]
    for server in servers:
        await server.listen()
    tell(ports=[server.port for server in servers])
    await asyncio.to_thread(sys.stdin.readline)  # play only when the probes are at work
    watching = asyncio.create_task(beat())
    await asyncio.gather(
        *(server.play(number, plan) for number, (server, plan) in enumerate(zip(servers, plans, strict=True)))
    )
    await asyncio.to_thread(sys.stdin.readline)  # and stay up until they are done
    watching.cancel()
    tell(stalled=stalled)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
