"""Prints the tree that crossplane reads from a configuration, in the form of corpus.rs.

    .venv/bin/python tree.py FILE.conf > FILE.tree

Of several files, each tree has the name of its file above it.
"""

import re
import sys

import crossplane

ESCAPES = {"\\t": "\t", "\\r": "\r", "\\n": "\n", '\\"': '"', "\\'": "'", "\\\\": "\\"}


def value(word):
    """crossplane keeps escapes as they are written; nginx resolves these."""
    return re.sub(r"\\[trn\"'\\]", lambda it: ESCAPES[it.group()], word)


def shown(word):
    """As Rust's escape_debug shows it."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("'", "\\'")
    return text.replace("\t", "\\t").replace("\r", "\\r").replace("\n", "\\n")


def tree(directives, depth):
    for directive in directives:
        words = [directive["directive"], *directive["args"]]
        text = " ".join("[" + shown(value(it)) + "]" for it in words)
        end = " {" if "block" in directive else ""
        print("  " * depth + f"{directive['line']} {text}{end}")
        tree(directive.get("block", []), depth + 1)


for path in sys.argv[1:]:
    payload = crossplane.parse(path, combine=True, check_ctx=False, check_args=False)
    if payload["errors"]:
        sys.exit(f"{path}: {payload['errors'][0]['error']}")
    if len(sys.argv) > 2:
        print(f"# {path}")
    tree(payload["config"][0]["parsed"], 0)
