"""One thread, one seed and no network for every test."""

import os

import torch

# Set before Transformers is imported: no test may reach a hub.
os.environ["HF_HUB_OFFLINE"] = "1"
torch.set_num_threads(1)


def pytest_runtest_setup() -> None:
    """What a test draws without a seed of its own is the same wherever and after whatever it runs."""
    torch.manual_seed(0)
