"""One thread and no network for every test."""

import os

import torch

# Set before Transformers is imported: no test may reach a hub.
os.environ["HF_HUB_OFFLINE"] = "1"
torch.set_num_threads(1)
