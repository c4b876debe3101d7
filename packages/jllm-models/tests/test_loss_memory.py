"""The loss needs a small part of the memory that whole logits would take."""

import subprocess
import sys

TOKENS, HIDDEN, VOCABULARY = 4096, 64, 152_064
WHOLE_LOGITS = TOKENS * VOCABULARY * 4
"""Bytes of fp32 logits that are kept whole: 2.3 GiB."""

PEAK = f"""
import sys
import torch
from pathlib import Path
from jllm.models.config.decoder_config import LOGITS_PER_CHUNK
from jllm.models.decoder.loss import linear_cross_entropy

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

chunk = LOGITS_PER_CHUNK // {VOCABULARY}
weight = (torch.randn({VOCABULARY}, {HIDDEN}) / 8).requires_grad_()
hidden = torch.randn({TOKENS}, {HIDDEN}, requires_grad=True)
targets = torch.randint({VOCABULARY}, ({TOKENS},))
linear_cross_entropy(hidden[:2], weight, targets[:2], 1).backward()  # the libraries' own buffers
before = peak()
linear_cross_entropy(hidden, weight, targets, chunk).backward()
sys.stdout.write(str(peak() - before))
"""


def test_forward_and_backward_take_an_eighth_of_whole_logits():
    command = [sys.executable, "-c", PEAK]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert 0 < grown <= WHOLE_LOGITS / 8
