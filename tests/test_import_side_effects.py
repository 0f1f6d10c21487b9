"""Importing a package touches no network, no logger, no environment variable and no file (properties: 28)."""

import json
import os
import subprocess
import sys
import textwrap

PACKAGES = ["csc_data", "csc_models", "csc_eval", "csc_submit", "csc_train", "csc_cli"]

# Third-party imports come first: torchvision, for one, sets a variable of its own. What they are is found by importing
# the packages once in another process; then only ours are imported under watch. All six in one process, since torch
# alone takes seconds to import.
PROBE = """
import importlib, json, logging, os, pkgutil, sys

def modules_of(package):
    found = [package]
    for entry in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        # csc_eval._kernels is a plain C library, loaded through ctypes: no module, though its name ends like one.
        if not entry.name.endswith(("__main__", "._kernels")):
            importlib.import_module(entry.name)
            found.append(entry.name)
    return found

mode, *packages = sys.argv[1:]
if mode == "list":
    ours = [name for package in packages for name in modules_of(package)]
    third = [m for m in sys.modules if not m.startswith("csc_")]
    print(json.dumps({"ours": ours, "third": third}))
    sys.exit()

third = json.loads(sys.stdin.read())["third"]
for name in third:
    try:
        importlib.import_module(name)
    except Exception:
        pass  # a private module that only its parent can import

handlers = {n: list(getattr(l, "handlers", [])) for n, l in logging.root.manager.loggerDict.items()}
before = (list(logging.root.handlers), logging.root.level, dict(os.environ), dict(handlers))
events = []

def watch(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")):
        events.append([event, repr(arguments)])
    elif event == "open":
        path, mode_, flags = arguments
        writes = (mode_ and set(mode_) & set("wax+")) or (flags and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
        if writes and not str(path).endswith((".pyc",)) and ".pyc." not in str(path) and "__pycache__" not in str(path):
            events.append([event, repr(arguments)])
    elif event in ("os.mkdir", "os.remove", "os.rename", "os.putenv", "os.unsetenv", "os.rmdir", "shutil.rmtree"):
        if "__pycache__" not in repr(arguments) and ".pyc" not in repr(arguments):
            events.append([event, repr(arguments)])

sys.addaudithook(watch)
for package in packages:
    modules_of(package)
after = (list(logging.root.handlers), logging.root.level, dict(os.environ))
new = {n: list(getattr(l, "handlers", [])) for n, l in logging.root.manager.loggerDict.items()}
ours_with_handlers = [n for n, h in new.items() if n.startswith("csc") and set(map(type, h)) - {logging.NullHandler}]
print(json.dumps({"events": events, "same": before[:3] == after, "handlers": ours_with_handlers}))
"""


def probe(mode, stdin=""):
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(PROBE), mode, *PACKAGES],
        input=stdin, capture_output=True, text=True, timeout=900, check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


def test_importing_every_module_changes_nothing():
    listed = probe("list")
    assert set(PACKAGES) <= set(json.loads(listed)["ours"])
    seen = json.loads(probe("watch", listed))
    assert seen["events"] == []
    assert seen["same"], "the root logger or the environment changed"
    assert seen["handlers"] == []
