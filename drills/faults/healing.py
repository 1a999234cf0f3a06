"""Undoing a fault in several places: what fails in one of them keeps none of the others from being healed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from drills.errors import EnvironmentFailed
from drills.waiting import in_a_line


def each(undo: Iterable[tuple[str, Callable[[], object]]]) -> None:
    """Do all of these, in their order.

    Args:
        undo: what each is called in a message, such as a node's name, and what undoes the fault there.

    Raises:
        EnvironmentFailed: some failed; says how many, which, and why each of them did.

    """
    failed, tried = {}, 0
    for tried, (name, action) in enumerate(undo, 1):
        try:
            action()
        except Exception as trouble:  # noqa: BLE001 - raised below, when all have had their turn
            failed[f"{name} ({tried})" if name in failed else name] = trouble
    if failed:
        told = "; ".join(f"{name}: {in_a_line(trouble)}" for name, trouble in failed.items())
        error = EnvironmentFailed(f"{len(failed)} of {tried} could not be healed: {told}")
        raise error from next(iter(failed.values()))
