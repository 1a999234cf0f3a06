"""What says that something is wrong: alarms, and the alerts of an Alertmanager as their receivers hear of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Protocol

from drills.clock import stamp
from drills.errors import BadReading
from drills.redaction import kept


@dataclass(frozen=True)
class Notice:
    """One thing that an alarm said.

    Attributes:
        at: when it was heard, by the wall clock.
        firing: whether it said that something is wrong, or that this is over.
        source: what it spoke of, where one alarm speaks of several things.
        facts: what else it said, for the record.

    """

    at: datetime
    firing: bool
    source: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


class Alarm(Protocol):
    """Something whose task it is to notice a disaster: an alert, a monitor, a test order that somebody watches."""

    @property
    def name(self) -> str:
        """Its name, as records say it."""
        ...

    def heard(self) -> Sequence[Notice]:
        """All that was heard of it so far, the oldest first; raises BadReading or OSError if nobody can tell now."""
        ...


def firing(notices: Iterable[Notice]) -> list[str]:
    """Name the sources that, by the last word of each, still say that something is wrong."""
    last = {notice.source: notice.firing for notice in notices}
    return [source for source, on in last.items() if on]


@dataclass(frozen=True)
class Alert:
    """One alert by name, and by those labels that are given.

    Attributes:
        read: gives what the receivers wrote down, see `notices`.
        alert: the alert's name, as its rule has it.
        labels: labels that it must carry; others may be there, too.

    """

    read: Callable[[], str]
    alert: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name, as records say it."""
        return f"alert {self.alert}"

    def heard(self) -> list[Notice]:
        """All that the receivers were told of it, the oldest first.

        Raises:
            BadReading: what they wrote down is no notification.
            OSError: they cannot be asked now.

        """
        wanted = {"alertname": self.alert, **self.labels}
        return [notice for notice in notices(self.read()) if wanted.items() <= notice.facts["labels"].items()]


@dataclass(frozen=True)
class Heartbeat:
    """A dead man's switch: an alert that always fires, and whose notifications must keep coming. Silence is the alarm.

    Attributes:
        alert: the alert that always fires.
        allowed_s: how long it may be silent, in seconds.
        now: the time of day.

    """

    alert: Alert
    allowed_s: float
    now: Callable[[], datetime]

    @property
    def name(self) -> str:
        """Its name, as records say it."""
        return f"silence of {self.alert.name}"

    def age(self) -> float:
        """How long ago the last notification arrived, in seconds; infinite if none did.

        Raises:
            BadReading: what the receivers wrote down is no notification.
            OSError: they cannot be asked now.

        """
        heard = self.alert.heard()
        return (self.now() - heard[-1].at).total_seconds() if heard else float("inf")

    def heard(self) -> list[Notice]:
        """Every silence that was too long, from the moment when it was; and its end. Raises as `age` does."""
        now = self.now()
        found = []
        for before, after in pairwise([*(notice.at for notice in self.alert.heard()), now]):
            if (after - before).total_seconds() > self.allowed_s:
                facts = {"name": self.alert.alert, "labels": dict(self.alert.labels), "last_utc": stamp(before)}
                found.append(Notice(before + timedelta(seconds=self.allowed_s), firing=True, facts=facts))
                if after is not now:
                    found.append(Notice(after, firing=False, facts=facts))
        return found


def notices(text: str) -> list[Notice]:
    """Read what a receiver wrote down: a line of JSON for each request of Alertmanager's webhook, version 4.

    Args:
        text: lines with `at` (seconds since 1970), `receiver` (the path that was asked) and `body` (what was sent); a
            last line without an end is still being written, and left out.

    Raises:
        BadReading: a line is anything else.

    """
    found = []
    for line in text.rpartition("\n")[0].splitlines():
        try:
            request = json.loads(line)
            at = datetime.fromtimestamp(float(request["at"]), UTC)
            alerts = json.loads(request["body"])["alerts"]
            found += [_notice(at, str(request["receiver"]).strip("/"), alert) for alert in alerts]
        except (ValueError, KeyError, TypeError) as error:
            raise BadReading(
                f"the receiver wrote down what is no notification ({error!r}): {kept(line, 200)}"
            ) from error
    return sorted(found, key=lambda notice: notice.at)


def _notice(at: datetime, receiver: str, alert: Mapping[str, Any]) -> Notice:
    labels = dict(alert["labels"])
    return Notice(
        at,
        firing=alert["status"] == "firing",
        source=json.dumps(labels, sort_keys=True),
        facts={
            "name": labels["alertname"],
            "severity": labels.get("severity", ""),
            "receiver": receiver,
            "labels": labels,
            "firing_utc": alert["startsAt"],
        },
    )
