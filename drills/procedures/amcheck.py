"""PostgreSQL's own look at each table and index of a recovered database: docs/runbooks/database-restore.md."""

from __future__ import annotations

from collections.abc import Sequence

from drills.drill import Drill

PROGRAM = ("pg_amcheck", "--all", "--heapallindexed", "--install-missing")
WITHIN_S = 120.0
_LONGEST = 500


def check(drill: Drill, kubectl: Sequence[str], namespace: str, pod: str) -> None:
    """Run `pg_amcheck` in a database's pod, as its superuser; what is damaged is a failed check of the drill.

    Args:
        drill: the drill.
        kubectl: the program with its options.
        namespace: where the pod is.
        pod: the pod, whose database is in the container `postgres`.
    """
    command = f"kubectl -n {namespace} exec {pod} -- {' '.join(PROGRAM)}"
    with drill.step("check the new cluster for damage", command):
        done = drill.commands.run(
            [*kubectl, "exec", pod, "--namespace", namespace, "--container=postgres", "--", *PROGRAM],
            timeout_s=WITHIN_S, check=False,
        )  # fmt: skip
    said = (done.stdout + done.stderr).strip()
    drill.check("pg_amcheck finds no damage", done.returncode == 0, "no damage", said[:_LONGEST] or "no damage")
