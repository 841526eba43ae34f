"""The config of the DAHPS document, with its three faults, each of which can be mended."""

from __future__ import annotations

from typing import Any


def choice(key: str, values: Any, default: Any = None, **cases: Any) -> dict[Any, Any]:
    return {"key": key, "values": values, "default": default, **cases}


def config(*, comma: bool = True, value: bool = True, activations: tuple[str, ...] = ()) -> dict[str, Any]:
    """By default as written there: a comma makes a tuple, 'value' stands for 'values', a list is empty."""
    yes_no = [True, False]
    high = choice("image_size", [128, 256], choice("crop_size", [16, 32, 64, 128]))
    low = choice("image_size", [64, 128], choice("crop_size", [16, 32, 64]))
    names = ["caltech101", "caltech256", "food101", "inat2021", "cifar10", "cifar100"]
    dataset = choice("dataset", names, high, cifar10=low, cifar100=low)
    batch = choice("batch_size", [64, 128, 256, 512], (dataset,) if comma else dataset)
    rate = choice("learning_rate", [1e-3, 1e-4], batch)
    size = choice("embed_dim", [192, 384, 768], choice("conv_first", yes_no, rate))
    patches = choice("patch_size", [1, 2, 4, 16], choice("num_heads", [3, 6, 12], size))
    models = ["complex_resnet18", "complex_resnet34", "complex_resnet50", "complex_resnet101"]
    deit, resnet = choice("activation", list(activations), patches), choice("model", models, rate)
    model = choice("model_type", ["deit", "resnet"], resnet, deit=deit)
    pre = choice("normalize", yes_no, choice("magphase", yes_no, choice("symlog", yes_no, model)))
    shearlets = {"key": "n_shearlets", "value" if value else "values": [1, 3, 10], "default": pre}
    root = choice("experiment_type", ["shearlet", "fourier", "baseline"], model, shearlet=shearlets, fourier=pre)
    return {"root": root, "check_unique": True, "repetitions": 1}
