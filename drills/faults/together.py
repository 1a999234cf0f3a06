"""Several faults at once: disasters that are one only because they come together."""

from __future__ import annotations

from drills.errors import UsageError
from drills.faults import Fault
from drills.faults.healing import each


class Together(Fault):
    """Several faults, injected one after the other as one disaster; it is proved when every one of them is."""

    def __init__(self, *faults: Fault) -> None:
        """Put faults together.

        Raises:
            UsageError: there are fewer than two.

        """
        if len(faults) < 2:
            raise UsageError(f"together: found {len(faults)} faults, accepted: two or more")
        self.name = " and ".join(fault.name for fault in faults)
        self.target = ", ".join(fault.target for fault in faults)
        self.blast_radius = max((fault.blast_radius for fault in faults), key=lambda radius: radius.rank)
        self.claims = sorted({claim for fault in faults for claim in fault.claims})
        self._faults = faults
        self._injected = False

    def inject(self) -> None:
        """Inject all of them, in the order given."""
        self._injected = True
        for fault in self._faults:
            fault.within_s = self.within_s
            fault.inject()

    def proof(self) -> list[str]:
        """Tell what all of them have to show. Before the injection one of them is enough: it is damage all the same."""
        proofs = [fault.proof() for fault in self._faults]
        self.unproven = "; ".join(
            f"{fault.name}: {fault.unproven or 'nothing yet'}"
            for fault, proof in zip(self._faults, proofs, strict=True)
            if not proof
        )
        if self._injected and not all(proofs):
            return []
        return [fact for proof in proofs for fact in proof]

    def heal(self) -> None:
        """Heal all of them, the last one first; a failure keeps none of the others from being healed.

        Raises:
            EnvironmentFailed: some could not be; says which, and why.

        """
        each((fault.name, fault.heal) for fault in reversed(self._faults))


def together(*faults: Fault) -> Together:
    """Make one disaster of several faults.

    Raises:
        UsageError: there are fewer than two.

    """
    return Together(*faults)
