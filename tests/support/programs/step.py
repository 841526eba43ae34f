"""A step of a pipeline, for make and for us: what it makes depends on what it reads, and on nothing else.

    step.py preprocess RAW FOLDER
    step.py train DATA SETTINGS FOLDER

NAME is the folder's. The file `ran` says when a step begins, is half done, and ends. Half done it waits while
`hold-NAME` is there; at its beginning it fails where `fail-NAME` is.
"""

import hashlib
import json
import os
import sys
import time


def main():
    inputs, folder = sys.argv[2:-1], sys.argv[-1]
    name = os.path.basename(folder)
    say("begins", name)
    if os.path.exists(f"fail-{name}"):
        sys.exit(f"{name} fails")
    os.makedirs(folder, exist_ok=True)
    texts = [read(path) for path in inputs]
    first, last = files(sys.argv[1], texts)
    write(folder, *first)
    say("half", name)
    while os.path.exists(f"hold-{name}"):
        time.sleep(0.005)
    write(folder, *last)
    say("ends", name)


def files(step, texts):
    if step == "preprocess":
        return ("a.txt", texts[0].upper()), ("b.txt", texts[0].lower())
    data, number = texts
    made_from = hashlib.sha256(data.encode()).hexdigest()
    return ("model.txt", f"{made_from} {number}"), ("metrics.json", json.dumps({"accuracy": float(number)}))


def read(path):
    if os.path.isdir(path):
        return "".join(read(os.path.join(path, name)) for name in sorted(os.listdir(path)) if name.endswith(".txt"))
    with open(path) as file:
        return file.read()


def write(folder, name, text):
    path = os.path.join(folder, name)
    with open(path + ".part", "w") as file:
        file.write(text)
    os.replace(path + ".part", path)


def say(what, name):
    file = os.open("ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, f"{what} {name} {os.getpid()} {os.getppid()}\n".encode())
    os.close(file)


main()
