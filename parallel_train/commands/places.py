"""What things of ours are called in a user's project and environment."""

CONFIG_FILE = "configs/parallel-train.yaml"
VARIABLE_PREFIX = "PARALLEL_TRAIN_"
