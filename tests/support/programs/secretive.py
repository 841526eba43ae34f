"""Writes into FILE what it got of each variable that is named in NAMES, as a hash: secretive.py FILE NAMES [CODE]."""

import hashlib
import json
import os
import sys

file, names, *code = sys.argv[1:]
with open(names) as listed:
    found = {name: hashlib.sha256(os.environb.get(name.encode(), b"")).hexdigest() for name in json.load(listed)}
with open(file, "w") as out:
    json.dump(found, out)
print("a line of its log")
sys.exit(int(*code))
