"""One thread: the tests are small, and their arithmetic is then the same on every machine."""

import torch

torch.set_num_threads(1)
