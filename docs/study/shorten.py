"""Writes an encoder with the lowest layers of another one in XLM-R's layout: `python docs/study/shorten.py ENCODER OUT 8`.

Of the ways to drop layers, leaving out the top ones loses least (Sajjad et al. 2023, "On the effect of dropping layers of
pre-trained transformer models").
"""

import json
import re
import shutil
import sys
from pathlib import Path

from safetensors.numpy import load_file, save_file

TOKENIZER = ("tokenizer.json", "tokenizer_config.json")


def main(encoder: Path, out: Path, num_layers: int) -> None:
    """Fill `out`, which must not exist yet."""
    absent = [name for name in ("model.safetensors", "config.json", *TOKENIZER) if not (encoder / name).is_file()]
    if absent or out.exists():
        sys.exit(f"{encoder}: must hold {', '.join(absent)}" if absent else f"{out}: must not exist yet")
    out.mkdir(parents=True)
    layer = re.compile(r"\blayer\.(\d+)\.")
    tensors = {
        name: tensor
        for name, tensor in load_file(encoder / "model.safetensors").items()
        if (found := layer.search(name)) is None or int(found[1]) < num_layers
    }
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    config = json.loads((encoder / "config.json").read_text(encoding="utf-8"))
    (out / "config.json").write_text(
        json.dumps({**config, "num_hidden_layers": num_layers}, indent=2), encoding="utf-8"
    )
    for name in TOKENIZER:
        shutil.copy(encoder / name, out / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
