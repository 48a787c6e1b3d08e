"""What torch's convolutions of float32 may be computed in, for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def convolutions_with_tf32(is_allowed: bool) -> Iterator[None]:
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = is_allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
