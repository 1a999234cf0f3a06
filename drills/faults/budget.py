"""Disruption budgets that forbid an eviction."""

from __future__ import annotations

from collections.abc import Iterable

from drills.kube import Kube, Manifest

_TOLD = 3


def blocking(kube: Kube, pods: Iterable[Manifest]) -> str:
    """Name the budgets that forbid to evict one of these pods now, with their figures; empty if none does.

    A pod under two budgets cannot be evicted at all, whatever they allow (kubernetes,
    pkg/registry/core/pod/storage/eviction.go).

    Raises:
        KubeError: the API server did not say.
    """
    budgets: dict[str, list[Manifest]] = {}
    told: dict[str, str] = {}
    for pod in pods:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if namespace not in budgets:
            budgets[namespace] = kube.list("PodDisruptionBudget", namespace)
        over = [
            one
            for one in budgets[namespace]
            if selects((one.get("spec") or {}).get("selector"), pod["metadata"].get("labels") or {})
        ]
        if len(over) > 1:
            names = " and ".join(sorted(one["metadata"]["name"] for one in over))
            told[name] = (
                f"pod {namespace}/{name} is under {len(over)} PodDisruptionBudgets, {names}: no eviction at all"
            )
        for one in over[:1] if len(over) == 1 else []:
            status = one.get("status") or {}
            if not status.get("disruptionsAllowed"):
                budget = one["metadata"]["name"]
                told[budget] = (
                    f"PodDisruptionBudget {namespace}/{budget} allows no disruption: {status.get('currentHealthy', 0)} "
                    f"healthy, {status.get('desiredHealthy', 0)} wanted"
                )
    more = f"; and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return "; ".join(list(told.values())[:_TOLD]) + more


def selects(selector: Manifest | None, labels: dict[str, str]) -> bool:
    """Tell whether a label selector takes in an object with these labels; none takes in nothing, an empty one all."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_meets(one, labels) for one in selector.get("matchExpressions") or [])


def _meets(expression: Manifest, labels: dict[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
    if operator in ("Exists", "DoesNotExist"):
        return (key in labels) is (operator == "Exists")
    return (labels.get(key) in values) is (operator == "In")
