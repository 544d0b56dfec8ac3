"""A step on a CPU with glibc's settings of workers and without: `python tests/studies/memory_speed.py` prints JSON.

Plain torch and transformers, 33 M parameters, 1,280 tokens; two processes at a time, with and without by turns.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from itertools import chain

NUM_TURNS, NUM_STEPS = 3, 8
FIRST = 3  # steps that are left out: memory is taken for the first time


def train():
    """Print the seconds and page faults of each step."""
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaModel

    torch.set_num_threads(1)
    sizes = {"vocab_size": 48_000, "hidden_size": 384, "num_hidden_layers": 8, "num_attention_heads": 12}
    config = XLMRobertaConfig(**sizes, intermediate_size=1_536, max_position_embeddings=514, attn_implementation="sdpa")
    model = XLMRobertaModel(config, add_pooling_layer=False).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    ids = torch.randint(5, 40_000, (16, 80))
    for _ in range(NUM_STEPS):
        began, faults = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        model(ids).last_hidden_state.pow(2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
        print(json.dumps((time.perf_counter() - began, faults)))


def main():
    """Measure both by turns."""
    from xlray.sweep.train_run import CPU_ENVIRONMENT

    found = {"as glibc does": [], "as workers do": []}
    for _ in range(NUM_TURNS):
        for (name, steps), settings in zip(found.items(), ({}, CPU_ENVIRONMENT), strict=True):
            command, environment = [sys.executable, __file__, "child"], {**os.environ, **settings}
            both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
            lines = chain.from_iterable(process.communicate()[0].splitlines()[FIRST:] for process in both)
            steps += map(json.loads, lines)
            print(name, [round(seconds, 2) for seconds, _ in steps[-2 * (NUM_STEPS - FIRST) :]], file=sys.stderr)
    medians = {
        name: [statistics.median(column) for column in zip(*steps, strict=True)] for name, steps in found.items()
    }
    print(json.dumps({name: {"step_s": round(s, 3), "page_faults": round(f)} for name, (s, f) in medians.items()}))


if __name__ == "__main__":
    train() if sys.argv[1:] else main()
