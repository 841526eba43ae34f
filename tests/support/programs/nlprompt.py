"""Stands for the train.py of an NLPrompt checkout: how it was called goes to the file `ran`, as a line of JSON.

Half done it waits while there is a file `hold-NOISE`, such as hold-sym_0.5, and until as many have begun as the file
`together` says. Where there is `fail-NOISE` it exits with 3.
"""

import json
import os
import sys
import time


def main():
    if "--help" in sys.argv:
        print("usage: train.py [--root ROOT] [--output-dir DIR] [KEY VALUE …]")
        return
    words = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
    noise = f"{words['DATASET.NOISE_TYPE']}_{words['DATASET.NOISE_RATE']}"
    output = words["--output-dir"]
    weights = os.path.join(output, "prompt_learner")
    resumed = os.path.exists(weights)
    say(argv=sys.argv[1:], noise=noise, gpu=os.environ["CUDA_VISIBLE_DEVICES"], resumed=resumed)
    print("epoch [1/200]", noise)
    print("a warning about", noise, file=sys.stderr)
    while os.path.exists(f"hold-{noise}") or len(read("ran").splitlines()) < int(read("together") or 0):
        time.sleep(0.005)
    if os.path.exists(f"fail-{noise}"):
        sys.exit(3)
    os.makedirs(weights, exist_ok=True)
    for name in ("prompt_learner/model.pth.tar-200", "log.txt"):
        with open(os.path.join(output, name), "a") as file:
            file.write("Finish training\n")
    print("* accuracy: 87.5%")


def read(path):
    if not os.path.exists(path):
        return ""
    with open(path) as file:
        return file.read()


def say(**facts):
    file = os.open("ran", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(file, json.dumps(facts).encode() + b"\n")
    os.close(file)


main()
