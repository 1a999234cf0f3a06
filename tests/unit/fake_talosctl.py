"""A stand-in for talosctl and the machines behind it. Run as a program; its machines are kept in $FAKE_TALOS.

It takes the command lines that talosctl of Talos 1.12 takes, and refuses what that one refuses: commands and flags that
there are not, a switch whose value stands apart, arguments too many, several machines where one is wanted. Its answers
are laid out as that talosctl's: tables whose cells are three spaces apart.
"""

import json
import os
import re
import sys
from pathlib import Path

TEXT, SWITCH, TIME = ".*", "true|false", r"(\d+(\.\d+)?(h|m|s|ms))+"
EVERYWHERE = {
    "nodes": TEXT, "endpoints": TEXT, "talosconfig": TEXT, "context": TEXT, "cluster": TEXT, "siderov1-keys-dir": TEXT,
}  # fmt: skip
SHORT = {"n": "nodes", "e": "endpoints"}
COMMANDS = {  # command: arguments at least and at most, whether it takes several machines, flags of its own
    "bootstrap": (0, 0, False, {"recover-from": TEXT, "recover-skip-hash-check": SWITCH}),
    "etcd members": (0, 0, True, {}),
    "etcd snapshot": (1, 1, False, {}),
    "etcd status": (0, 0, True, {}),
    "health": (
        0, 0, False,
        {"control-plane-nodes": TEXT, "init-node": TEXT, "k8s-endpoint": TEXT, "run-e2e": SWITCH, "server": SWITCH,
         "wait-timeout": TIME, "worker-nodes": TEXT},
    ),
    "list": (0, 1, True, {"depth": r"\d+", "humanize": SWITCH, "long": SWITCH, "recurse": SWITCH, "type": TEXT}),
    "reset": (
        0, 0, True,
        {"debug": SWITCH, "graceful": SWITCH, "insecure": SWITCH, "reboot": SWITCH, "system-labels-to-wipe": TEXT,
         "timeout": TIME, "user-disks-to-wipe": TEXT, "wait": SWITCH, "wipe-mode": "all|system-disk|user-disks"},
    ),
    "service": (0, 2, True, {}),
}  # fmt: skip


def refuse(why):
    sys.stderr.write(f"Error: {why}\n")
    sys.exit(1)


def say(line):
    sys.stdout.write(f"{line}\n")


def parse(words):
    """Return the command, its arguments and its flags, by cobra's rules."""
    bare, given = [], []
    words = list(words)
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            bare.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("--"):
            name = SHORT.get(name) or refuse(f"unknown shorthand flag: {word}")
        known = {**EVERYWHERE, **{flag: kind for _, _, _, own in COMMANDS.values() for flag, kind in own.items()}}
        if not equals:  # a switch never takes the next word
            value = "true" if known.get(name) == SWITCH else words.pop(0) if words else refuse(f"{word} needs a value")
        given.append((name, value))
    command = next((one for one in COMMANDS if bare[: len(one.split())] == one.split()), None)
    if command is None:
        refuse(f"unknown command {' '.join(bare)!r}")
    least, most, several, own = COMMANDS[command]
    arguments = bare[len(command.split()) :]
    if not least <= len(arguments) <= most:
        refuse(f"{command}: accepts {least} to {most} arguments, received {arguments}")
    for name, value in given:
        kind = {**EVERYWHERE, **own}.get(name) or refuse(f"{command}: unknown flag: --{name}")
        if not re.fullmatch(kind, value):
            refuse(f"{command}: invalid argument {value!r} for --{name}")
    flags = dict(given)
    nodes = flags.get("nodes", "").split(",")
    if nodes == [""]:
        refuse("nodes are not set for the command: please use `--nodes` flag")
    if len(nodes) > 1 and not several:
        refuse(f'command "{command}" is not supported with multiple nodes')
    return command, arguments, flags, nodes


class Machines:
    """The control planes, as talosctl would find them.

    data: the cluster that a machine's etcd has data of, none if it has none.
    away: how many calls a machine that boots will leave without an answer.
    elects: whether an etcd with a majority has no leader just now.
    stale: how many more answers about health are from before.
    """

    def __init__(self, path):
        self.path = path
        self.all = json.loads(path.read_text())

    def save(self):
        written = self.path.with_suffix(".new")
        written.write_text(json.dumps(self.all))
        written.replace(self.path)  # at once, for others read meanwhile

    def ask(self, node):
        machine = self.all.get(node) or refuse(f"error from node {node}: no route to host")
        if machine["away"]:
            machine["away"] -= 1
            self.save()
            refuse(f"error from node {node}: rpc error: code = Unavailable desc = connection refused")
        return machine

    def members(self, cluster):
        return [node for node in self.all if cluster in self.all[node]["member_of"]]

    def leader(self, cluster):
        alive = [node for node in self.members(cluster) if self.all[node]["data"] == cluster]
        return alive[0] if len(alive) > len(self.members(cluster)) // 2 else ""

    def wipe(self, node, away):
        self.all[node].update(data="", away=away)

    def join(self, node):
        """Have an empty machine join a cluster that works, as it does by itself after a while."""
        machine = self.all[node]
        for cluster in sorted({one["data"] for one in self.all.values() if one["data"]}):
            if not machine["data"] and self.leader(cluster):
                machine.update(data=cluster, member_of=[*machine["member_of"], cluster])


def ident(node):
    return f"{int(node.split('.')[-1]):016x}" if node else "0" * 16


def table(*rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        say("".join(f"{cell:<{width + 3}}" for cell, width in zip(row, widths, strict=False)) + row[-1])


def bootstrap(machines, node, flags):
    machine = machines.ask(node)
    snapshot = Path(flags["recover-from"])
    if not snapshot.exists():
        refuse(f"stat {snapshot}: no such file or directory")
    if machine["data"]:
        refuse("error executing bootstrap: rpc error: code = AlreadyExists desc = etcd data directory is not empty")
    cluster = f"of {snapshot.read_text()} on {node}"
    machine.update(data=cluster, member_of=[cluster])
    say(f'recovering from snapshot "{snapshot}": hash c25fd181, revision 4193, total keys 1287, total size 3035136')


def service(machines, node):
    machine = machines.ask(node)
    quorum = bool(machine["data"]) and bool(machines.leader(machine["data"]))
    healthy = quorum or machine["stale"] > 0
    machine["stale"] = max(0, machine["stale"] - 1)
    rows = [("NODE", node), ("ID", "etcd"), ("STATE", "Running" if machine["data"] else "Preparing")]
    rows += [("HEALTH", "OK" if healthy else "Fail" if machine["data"] else "?")]
    rows += [("LAST HEALTH MESSAGE", "context deadline exceeded")] if machine["data"] and not healthy else []
    table(*rows, ("EVENTS", "[Preparing]: Running pre state (3m2s ago)"))
    machines.join(node)


def status(machines, node):
    machine = machines.ask(node)
    if not machine["data"] or machine["hangs"]:
        refuse(f"error from node {node}: rpc error: code = DeadlineExceeded desc = context deadline exceeded")
    leader = "" if machine["elects"] else machines.leader(machine["data"])
    table(
        ("NODE", "MEMBER", "DB SIZE", "IN USE", "LEADER", "RAFT INDEX", "RAFT TERM", "RAFT APPLIED INDEX", "LEARNER",
         "PROTOCOL", "STORAGE", "ERRORS"),
        (node, ident(node), "20 MB", "11 MB (54.90%)", ident(leader), "4193", "7", "4193", "false", "3.6.6", "3.6.0",
         "" if leader else "etcdserver: no leader"),
    )  # fmt: skip


def members(machines, node):
    machine = machines.ask(node)
    rows = [
        (node, ident(one), machines.all[one]["name"], f"https://{one}:2380", f"https://{one}:2379",
         str(machines.all[one]["learner"]).lower())
        for one in machines.members(machine["data"])
    ]  # fmt: skip
    table(("NODE", "ID", "HOSTNAME", "PEER URLS", "CLIENT URLS", "LEARNER"), *rows)


def snapshot(machines, node, path):
    machine = machines.ask(node)
    Path(path).write_text(machine["data"])
    say(f'etcd snapshot saved to "{path}" (3035168 bytes)')
    say(f"snapshot info: hash c25fd181, revision 4193, total keys {machine['keys']}, total size 3035136")


def reset(machines, nodes, flags):
    if flags.get("system-labels-to-wipe") != "EPHEMERAL" or flags.get("graceful") != "false" or "reboot" not in flags:
        refuse(f"this would leave machines without their configuration, without etcd's consent, or off: {flags}")
    for node in nodes:
        machines.ask(node)
    for node in nodes:
        machines.wipe(node, away=2 if flags.get("wait") == "false" else 0)


def health(machines, flags):
    planes = flags["control-plane-nodes"].split(",")
    if {machines.all[node]["data"] for node in planes} != {machines.all[planes[0]]["data"]}:
        refuse("healthcheck error: etcd member ips do not match control plane node ips")
    sys.stderr.write("waiting for all k8s nodes to report ready: OK\n")


def main():
    command, arguments, flags, nodes = parse(sys.argv[1:])
    machines = Machines(Path(os.environ["FAKE_TALOS"]))
    with machines.path.with_suffix(".log").open("a") as log:
        log.write(" ".join(["talosctl", *sys.argv[1:]]) + "\n")
    one = nodes[0]
    if command == "bootstrap":
        bootstrap(machines, one, flags)
    elif command == "service":
        service(machines, one) if arguments == ["etcd"] else refuse(f"no such call in this stand-in: {arguments}")
    elif command == "etcd status":
        status(machines, one)
    elif command == "etcd members":
        members(machines, one)
    elif command == "etcd snapshot":
        snapshot(machines, one, arguments[0])
    elif command == "list":
        table(("NODE", "NAME"), (one, "."), *([(one, "member")] if machines.ask(one)["data"] else []))
    elif command == "reset":
        reset(machines, nodes, flags)
    elif command == "health":
        health(machines, flags)
    machines.save()


if __name__ == "__main__":
    main()
