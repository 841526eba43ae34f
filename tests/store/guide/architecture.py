from parallel_train import TaskConfig


def tasks():
    return [
        TaskConfig(
            dataset="caltech101",
            cfg="vit_b16",  # Change architecture
            noise_rate=1,
            noise_type="asym",
            num_classes=100,
        )
    ]
