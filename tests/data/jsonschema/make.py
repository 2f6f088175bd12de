#!/usr/bin/env python3
"""The public JSON-Schema test suite in one file, as tests/unit/test_schema_suite.c reads it.

    make.py FOLDER > suite.jsonl      FOLDER: json/tests/draft2020-12 of the source package of `jsonschema`

A line for each group: {"file", "n": place in its file, "schema", "tests": [[data, valid], ...]}.  Descriptions are left out, and
groups with integers beyond 64 bits: a request that has one is refused when its JSON is read.
Nothing in the build or the tests needs this script.
"""
import json
import os
import sys

# Formats that are enforced; the others are named as not enforced, whatever the instance.
FORMATS = ["date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uri", "uuid", "unknown"]


def too_large(v):
    if isinstance(v, dict):
        return any(too_large(x) for x in v.values())
    if isinstance(v, list):
        return any(too_large(x) for x in v)
    return isinstance(v, int) and not -2 ** 63 <= v < 2 ** 63


def main():
    root = sys.argv[1]
    names = sorted(f for f in os.listdir(root) if f.endswith(".json"))
    names += sorted("optional/" + f for f in os.listdir(os.path.join(root, "optional")) if f.endswith(".json"))
    names += ["optional/format/%s.json" % f for f in FORMATS]
    for name in names:
        with open(os.path.join(root, name)) as f:
            groups = json.load(f)
        for n, group in enumerate(groups):
            line = {"file": name[:-5], "n": n, "schema": group["schema"], "tests": [[t["data"], t["valid"]] for t in group["tests"]]}
            if not too_large(line):
                print(json.dumps(line, ensure_ascii=True, separators=(",", ":")))


main()
