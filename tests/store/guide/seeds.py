# ruff: noqa: F821, PERF401 - as the guide has it; the reader knows TaskConfig
def get_default_tasks():
    tasks = []
    seeds = [1, 2, 3]
    for seed in seeds:
        for noise_rate in [0.125, 0.25, 0.375, 0.5]:
            tasks.append(
                TaskConfig(
                    dataset="caltech101",
                    noise_rate=noise_rate,
                    noise_type="sym",
                    num_classes=100,
                    seed=seed,  # Different seed
                )
            )
    return tasks
