#!/usr/bin/env python3
"""The licences of what is compiled into the program.

    licences.py check     fails if one is not in scripts/deny.toml
    licences.py notices   prints all of their texts, as they ask for
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def listed(key):
    """A list in scripts/deny.toml, without a reader of TOML, which an older Python has not got."""
    text = (ROOT / "scripts/deny.toml").read_text()
    return re.findall(r'"(.*?)"', re.search(rf"(?ms)^{key} = \[(.*?)\]", text).group(1))


def crates():
    """All that the program is made of, but itself; not what only its tests or its build use."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--manifest-path", ROOT / "Cargo.toml"]
    for triple in listed("targets"):
        command += ["--filter-platform", triple]
    metadata = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    found, left = {}, [metadata["resolve"]["root"]]
    while left:
        for dependency in nodes[left.pop()]["deps"]:
            if dependency["pkg"] not in found and any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                found[dependency["pkg"]] = packages[dependency["pkg"]]
                left.append(dependency["pkg"])
    return sorted(found.values(), key=lambda package: (package["name"], package["version"]))


def permits(expression, allowed):
    """Whether an SPDX expression can be met: OR is a choice, AND is not."""
    words = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either():
        result = both()
        while words and words[0] == "OR":
            words.pop(0)
            result = both() or result
        return result

    def both():
        result = one()
        while words and words[0] == "AND":
            words.pop(0)
            result = one() and result
        return result

    def one():
        word = words.pop(0)
        if word == "(":
            result = either()
            words.pop(0)
            return result
        if words and words[0] == "WITH":
            del words[:2]
            return False
        return word in allowed

    return either()


def check():
    allowed = listed("allow")
    wrong = [package for package in crates() if not permits(package["license"] or "none", allowed)]
    for package in wrong:
        print(f"{package['name']} {package['version']}: {package['license']} is not in scripts/deny.toml")
    sys.exit(1 if wrong else 0)


def notices():
    texts = {}
    print("taos-setup contains these libraries. Their licences follow.\n")
    for package in crates():
        name = f"{package['name']} {package['version']}"
        print(f"{name}: {package['license']}")
        folder = Path(package["manifest_path"]).parent
        for path in sorted(folder.iterdir()):
            if path.is_file() and re.match(r"(?i)(licen[cs]e|copying|copyright|notice|unlicense)", path.name):
                texts.setdefault(path.read_text(errors="replace").strip(), []).append(name)
    for text, names in texts.items():
        print(f"\n{'=' * 78}\n{', '.join(dict.fromkeys(names))}\n{'=' * 78}\n\n{text}")


{"check": check, "notices": notices}[sys.argv[1]]()
