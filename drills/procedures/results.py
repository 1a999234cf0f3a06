"""What went wrong in a Velero backup or restore, in its own words: an object's status has no more than their number."""

from __future__ import annotations

import re

from drills.kube.describe import quoted

_ENTRY = re.compile(r"\s+(\S+):\s+(.*\S)\s*$")
_NOWHERE = ("Velero", "Cluster")
"""Entries that name no namespace."""


def first_error(described: str) -> str:
    """Return the first error that `velero restore describe` or `velero backup describe` prints; empty if there is none.

    Its section has an entry for Velero itself, one for the cluster and one for each namespace, each with its first
    error on its own line (velero, pkg/cmd/util/output/restore_describer.go, describeResult).
    """
    inside = False
    for line in described.splitlines():
        if line.startswith("Errors:"):
            inside = True
        elif inside and line.strip():
            if not line[0].isspace():
                break
            found = _ENTRY.match(line)
            if found and not found[2].startswith("<none>"):
                return quoted(found[2] if found[1] in _NOWHERE else f"namespace {found[1]}: {found[2]}")
    return ""
