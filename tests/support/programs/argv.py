"""A task that writes down what it was given: argv.py FILE [ARGUMENT]... makes FILE of its arguments and its params."""

import json
import os
import sys

with open(sys.argv[1], "x") as file:
    json.dump({"argv": sys.argv[2:], "params": json.loads(os.environ.get("PARALLEL_TRAIN_PARAMS", "null"))}, file)
