"""A time-stamping authority on the loopback interface, made with openssl."""

import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

CONFIGURATION = """
[tsa]
default_tsa = this
[this]
serial = {place}/serial
signer_cert = {place}/tsa.pem
signer_key = {place}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = sha256
accuracy = secs:1
"""


class Authority:
    """Answers requests by `openssl ts -reply`; `ca` is the certificate to check them with.

    `answers` changes what is sent: it is given the genuine reply.
    """

    def __init__(self, place: Path, answers=lambda reply: reply, status: int = 200) -> None:
        self.place, self.ca = place, place / "ca.pem"
        self.answers, self.status = answers, status
        new = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl(place, *new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test root", "-days", "2")
        openssl(place, *new, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=Test authority")
        (place / "usage").write_text("extendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n")
        openssl(place, "x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", "tsa.pem", "-days", "2", "-extfile", "usage")  # fmt: skip
        (place / "serial").write_text("01\n")
        (place / "tsa.cnf").write_text(CONFIGURATION.format(place=place))

    def __enter__(self) -> Self:
        authority = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = self.rfile.read(int(self.headers["Content-Length"]))
                reply = authority.answers(authority.reply(request))
                self.send_response(authority.status)
                self.send_header("Content-Type", "application/timestamp-reply")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/tsr"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def reply(self, request: bytes) -> bytes:
        (self.place / "request.tsq").write_bytes(request)
        openssl(self.place, "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "request.tsq", "-out", "reply.tsr")
        return (self.place / "reply.tsr").read_bytes()


def openssl(place: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=place, capture_output=True, check=True, timeout=60)
