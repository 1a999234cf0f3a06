"""What many of these tests ask for by name; a file whose API server has more in it makes one of its own."""

from __future__ import annotations

import pytest

from drills.kube import Kube

from .fake_apiserver import FakeApiServer


@pytest.fixture
def api():
    """An empty API server."""
    server = FakeApiServer()
    yield server
    server.stop()


@pytest.fixture
def kube(api, tmp_path):
    """A client of it."""
    return Kube(api.kubeconfig(tmp_path))
