"""What an API server answers instead of what was asked for.

KubeError            the API server answered, and not with what was asked for
+- NotFound         404
+- Conflict         409: it is there already, or is another one by now
+- Denied           401, 403: what an API server with an emptied etcd answers to everything
+- Busy             429, 5xx: not now
+- Unreachable      no answer: refused, reset, cut short or too late
"""

# ruff: noqa: N818  the names say what the API server answered; "BusyError" would say that the harness is at fault

from __future__ import annotations

import json
from collections.abc import Mapping

from drills.errors import DrillError
from drills.redaction import kept


class KubeError(DrillError):
    """The API server answered, and not with what was asked for."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        retry_after_s: float | None = None,
        causes: tuple[str, ...] = (),
    ) -> None:
        """Keep the answer's facts.

        Args:
            status: HTTP status; 0 where there was no answer.
            reason: Kubernetes' word for it ("NotFound"), or HTTP's.
            message: the server's sentence.
            retry_after_s: the pause that the server asks for, in seconds.
            causes: reasons in the answer's details ("DisruptionBudget").

        """
        super().__init__(f"{status} {reason}: {message}" if status else f"{reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s
        self.causes = causes


class NotFound(KubeError):
    """There is no such object, or no such kind of object."""


class Conflict(KubeError):
    """The object is there already, or is not the one that the request was meant for."""


class Denied(KubeError):
    """The API server does not know this user, or grants it nothing."""


class Busy(KubeError):
    """The API server answers, but will not serve now."""


class Unreachable(KubeError):
    """The API server gave no answer, or none that was whole and in time."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep what the connection said.

        Args:
            reason: the kind of failure, as urllib3 names it.
            message: its text.

        """
        super().__init__(0, reason, message)


RIDDEN_OUT: tuple[type[Exception], ...] = (Unreachable, Busy, Denied)
"""What a wait takes for a control plane in trouble. Denied is among them because an API server answers 403 to everyone
between the loss of etcd's data and the return of its roles, and drills cause just that."""


_REFUSALS: dict[int, type[KubeError]] = {
    401: Denied,
    403: Denied,
    404: NotFound,
    408: Busy,
    409: Conflict,
    410: Busy,  # a page of a list whose version is compacted away meanwhile: listing anew cures it
    429: Busy,
}


def refusal(status: int, http_reason: str, headers: Mapping[str, str], data: bytes) -> KubeError:
    """Make the error that an answer stands for."""
    try:
        answer = json.loads(data)
    except ValueError:
        answer = {}
    if not isinstance(answer, dict):
        answer = {}
    message = str(answer.get("message") or kept(data.decode(errors="replace").strip(), 200) or http_reason)
    causes = tuple(str(one.get("reason", "")) for one in (answer.get("details") or {}).get("causes") or [])
    asked = headers.get("Retry-After", "")
    kind = Busy if status >= 500 else _REFUSALS.get(status, KubeError)
    retry_after_s = float(asked) if asked.isdigit() else None
    return kind(status, str(answer.get("reason") or http_reason), message, retry_after_s=retry_after_s, causes=causes)
