"""Where to train: what `[trainer] device` says, or the best that this machine has."""

import torch

from corpus.errors import TrainingError


def choose_device(wanted: str) -> torch.device:
    """`auto` takes CUDA, then Apple's GPU, then the CPU. Raises TrainingError for a device that is not there."""
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return torch.device(next(device for device in ("cuda", "mps", "cpu") if present[device]))
    if not present.get(wanted, False):
        raise TrainingError(f'[trainer] device: this machine has no {wanted}; "auto" takes the best it has')
    return torch.device(wanted)
