"""Which build of XGBoost is there, found out without importing it."""

from importlib.metadata import PackageNotFoundError, distribution


def gpus_of_a_training(device: str, own_environment: bool) -> int:
    """1 if boosting may train on a GPU, else 0; `device` as the config has it.

    The build for CPUs has a name of its own on PyPI. With `own_environment`, boosting's rules have
    another one than this Python's, which may hold either build.
    """
    try:
        distribution("xgboost-cpu")
    except PackageNotFoundError:
        is_for_cpus = False
    else:
        is_for_cpus = not own_environment
    return 0 if device == "cpu" or is_for_cpus else 1
