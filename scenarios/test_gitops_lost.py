"""The controller that deploys from git is lost: its pods, all of it with its definitions, or its way to the repository.

Procedure under test: docs/runbooks/gitops-restore.md
Source: k8s_myHome's recovery guide, level 2 "failure of Argo CD": delete its pods, wait for them, look at the
Applications, sync; within an hour. With its definitions gone it is a rebuilt part of the system: level 3, two hours.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="high",
    rto="1h",
    rpo="24h",
    source="k8s_myHome recovery guide, level 2",
    runbook="docs/runbooks/gitops-restore.md",
    controls=["NIST CP-10", "NIST CM-2", "ISO27001 A.8.14"],
    images=["argocd"],
    needs=["git"],
)


@pytest.mark.drill(proves="killed Argo CD pods are replaced, and what was pushed and changed meanwhile is put right")
def test_killed_argo_cd_is_replaced(drill, kube, argocd, gitops, web):
    """All of Argo CD's pods are killed."""
    argocd.open(web)

    drill.holds(argocd.deploys_commits, web.still_shows_its_page)
    with drill.disruption(faults.together(*(faults.pod_killed(kube, "argocd", pod) for pod in argocd.pods()))):
        gitops.someone_scales("web", web.namespace, replicas=3)
        with drill.recovery("the controllers replace its pods", by="kubernetes"):
            gitops.pods_come_back()
            gitops.applications_are_well()
            gitops.drift_is_corrected()

    drill.always_held(web.still_shows_its_page)
    assert drill.rta <= drill.objective.rto
    assert not drill.rpa, "every commit that was pushed is deployed"


@pytest.mark.drill(
    rto="2h",
    source="k8s_myHome recovery guide, level 3",
    proves="an Argo CD that is gone with its definitions is back from its bundle and git, and no workload is touched",
)
def test_deleted_argo_cd_is_installed_again(drill, kube, argocd, gitops, web):
    """Argo CD's namespace is deleted, and the definitions of its kinds with every Application."""
    argocd.open(web)
    all_of_it = faults.together(
        faults.namespace_deleted(kube, "argocd"), faults.definitions_deleted(kube, "argoproj.io")
    )

    drill.holds(argocd.deploys_commits, web.still_shows_its_page)
    with drill.disruption(all_of_it, damage_within="2m"):
        gitops.someone_scales("web", web.namespace, replicas=3)
        with drill.recovery("install it from its bundle, and restore the Applications from git"):
            gitops.reinstall()
            gitops.restore_applications()
            gitops.applications_are_well()
            gitops.drift_is_corrected()

    drill.always_held(web.still_shows_its_page)
    assert drill.rta <= drill.objective.rto
    assert not drill.rpa, "every commit that was pushed is deployed"


@pytest.mark.drill(proves="an Argo CD that cannot reach what it deploys from says so when asked, and catches up")
@pytest.mark.parametrize(
    ("namespace", "service"), [("argocd", "argocd-repo-server"), ("git", "git")], ids=["repo server", "git server"]
)
def test_argo_cd_is_cut_off_from_its_repository(drill, kube, argocd, gitops, web, namespace, service):
    """The Service of what Argo CD deploys from leads nowhere: somebody changed its selector."""
    argocd.open(web)

    drill.holds(argocd.deploys_commits, web.still_shows_its_page)
    with drill.disruption(faults.service_cut_off(kube, namespace, service)):
        with drill.recovery("find the Service that leads nowhere, and apply its manifests again"):
            gitops.noticed()
            gitops.reconnect(namespace, service)
            gitops.applications_are_well()

    drill.always_held(web.still_shows_its_page)
    assert drill.rta <= drill.objective.rto
    assert not drill.rpa, "every commit that was pushed is deployed"
