"""Raise the libraries of the components that every drill needs to the newest version that any of them asks for.

Go compiles a package once for all programs that use the same version of it and of all it uses in turn. Where the
components agree, a first build on a new machine compiles a quarter less. Run it after a component was upgraded:

    .venv/bin/python tools/share_libraries.py
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from drills.fixtures.images import definition
from drills.fixtures.toolchain import GO_ALONE, go, run

KEPT = {
    "containerd": ("github.com/containerd/", "k8s.io/cri-api"),
    "velero": ("k8s.io/", "sigs.k8s.io/", "github.com/google/gnostic-models"),
}
"""What a component keeps at the version of its own release: it does not compile with newer ones, or, as with Velero's
controllers, is not known to work with them."""

_REPLACEMENT = re.compile(r"^replace (\S+) => \1 (v\S+)", re.MULTILINE)
_REQUIREMENT = re.compile(r"^(?:require\s+|\s+)(\S+) (v\S+)", re.MULTILINE)
_VERSION = re.compile(r"v(\d+)\.(\d+)\.(\d+)(?:-(\S+))?")


def required(directory: Path) -> dict[str, str]:
    """Return the version of each module that a component's go.mod asks for, or replaces it by."""
    text = (directory / "go.mod").read_text()
    return dict(_REQUIREMENT.findall(text)) | dict(_REPLACEMENT.findall(text))


def age(version: str) -> tuple[int, int, int, bool, str]:
    """Return what versions are ordered by, the oldest first: a pre-release is older than its release."""
    match = _VERSION.match(version)
    if match is None:
        raise ValueError(f"{version} is not a version of a Go module")
    major, minor, patch, before = match.groups()
    return int(major), int(minor), int(patch), before is None, before or ""


def behind(components: dict[str, dict[str, str]], name: str) -> dict[str, str]:
    """Return the modules that a component could take in the newer version of another, with that version."""
    newest: dict[str, str] = {}
    for modules in components.values():
        for module, version in modules.items():
            newest[module] = max(newest.get(module, version), version, key=age)
    kept = KEPT.get(name, ())
    return {
        module: newest[module]
        for module, version in components[name].items()
        if age(version) < age(newest[module]) and not module.startswith(kept)
    }


def main() -> int:
    """Raise what is behind until nothing is; return 0."""
    directories = {one.name: one.directory for one in definition.base() if one.builds}
    while True:
        modules = {name: required(directory) for name, directory in directories.items()}
        if not any(behind(modules, name) for name in directories):
            return 0
        for name, directory in directories.items():
            wanted = behind(modules, name)
            for module, version in sorted(wanted.items()):
                sys.stdout.write(f"{name}: {module} {modules[name][module]} -> {version}\n")
            if wanted:
                for arguments in (["get", *(f"{m}@{v}" for m, v in wanted.items())], ["mod", "tidy"]):
                    run([str(go()), *arguments], timeout_s=600, cwd=directory, env=GO_ALONE)


if __name__ == "__main__":
    sys.exit(main())
