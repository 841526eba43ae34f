# ruff: noqa: F821 - as the guide has it; the reader knows List and TaskConfig
def get_default_tasks() -> List[TaskConfig]:
    tasks = []

    # Example: Different datasets
    datasets_configs = [
        ("caltech101", 100),
        ("oxford_pets", 37),
        ("oxford_flowers", 102),
    ]

    for dataset, num_classes in datasets_configs:
        tasks.append(
            TaskConfig(
                dataset=dataset,
                shots=16,
                noise_rate=0.5,
                noise_type="sym",
                num_classes=num_classes,
                seed=1,
            )
        )

    return tasks
