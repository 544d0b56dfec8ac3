"""The fused kernel of dropout against the plain one: the same numbers bit for bit, forward and backward."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from xlray.training.batches import mix
from xlray.training.dropout import keep_mask, kept_scale

SHAPES = [(7, 10), (33, 256), (5, 1_023), (64, 1_024)]


def differences(device, dtypes):
    """Shapes and types at which the kernel and the plain way differ in any bit."""
    from xlray.training.dropout_kernel import drop

    found = []
    for tokens, width in SHAPES:
        for dtype in dtypes:
            keys = torch.from_numpy(mix(3, np.arange(tokens)).view(np.int64)).to(device)
            states, direction = torch.randn(2, 1, tokens, width, device=device, dtype=dtype)
            mine, plain = (states.clone().requires_grad_() for _ in range(2))
            a = drop(mine, keys, 5, 0.1)
            b = plain * keep_mask(keys, 5, width, 0.1).to(dtype).div_(0.9)
            a.backward(direction)
            b.backward(direction)
            if not (torch.equal(a, b) and torch.equal(mine.grad, plain.grad) and (a == 0).any()):
                found.append((tokens, width, dtype))
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_scales_as_the_plain_way_does(dtype):
    for probability in (0.1, 0.25, 0.3):
        assert kept_scale(probability, dtype) == torch.ones(1, dtype=dtype).div_(1 - probability).item()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_kernel_equals_the_plain_method_on_a_gpu():
    assert differences("cuda", (torch.float32, torch.bfloat16)) == []


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes with torch for CUDA alone")
def test_the_kernel_equals_the_plain_method_in_tritons_interpreter():
    """In fp32: the interpreter cuts bf16 off where a GPU rounds it."""
    folder = Path(__file__).parent
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder), str(folder.parent), environment.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", "import torch, test_dropout as t; print(t.differences('cpu', [torch.float32]))"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr
