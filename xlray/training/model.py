"""XLM-R with packed sequences, counter-based dropout and one linear layer of heads for all tasks.

The encoder is transformers' own `XLMRobertaModel`; attention inside each sequence of a pack is put under it through its
attention interface, and its dropout modules are replaced by ones whose masks depend on the example alone.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, XLMRobertaConfig, XLMRobertaModel
from transformers.initialization import no_init_weights

from xlray.config.recipes import Architecture
from xlray.data.encoders import body_names, check_weights, weight_files
from xlray.training.batches import Batch, Group, Layout, PackedSequences
from xlray.training.dropout import CounterDropout
from xlray.training.framework_internals import masked_lm_head, set_attention

ATTENTION = "xlray_packed"


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    *,
    sequences: PackedSequences,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention within each sequence of a pack: `[1, heads, T, d]` -> `[1, T, heads, d]`.

    bf16 on CUDA takes the flash kernel for variable lengths; everything else one SDPA call per distinct length.
    """
    if query.is_cuda and query.dtype == torch.bfloat16:
        return _attention_flash(query, key, value, scaling, sequences), None
    return _attention_by_length(query, key, value, scaling, sequences), None


def _attention_by_length(q: Tensor, k: Tensor, v: Tensor, scaling: float | None, sequences: PackedSequences) -> Tensor:
    # Sequences lie sorted by length, so those of one length are a view `[count, heads, length, d]`: no copy, no padding.
    # Split, not slices: the gradient of each slice would be as large as the pack.
    _, heads, _, width = q.shape
    sizes = [count * length for _, count, length in sequences.runs]
    queries, keys, values = (torch.split(x[0].transpose(0, 1), sizes) for x in (q, k, v))
    parts = []
    for (_, count, length), *qkv in zip(sequences.runs, queries, keys, values, strict=True):
        query, key, value = (x.view(count, length, heads, width).transpose(1, 2) for x in qkv)
        out = F.scaled_dot_product_attention(query, key, value, scale=scaling)
        parts.append(out.transpose(1, 2).reshape(count * length, heads, width))
    return torch.cat(parts).unsqueeze(0)


def _attention_flash(q: Tensor, k: Tensor, v: Tensor, scaling: float | None, sequences: PackedSequences) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    offsets, longest = sequences.offsets, sequences.longest
    query, key, value = (x[0].transpose(0, 1).contiguous() for x in (q, k, v))
    out = varlen_attn(query, key, value, offsets, offsets, longest, longest, scale=scaling)
    assert isinstance(out, Tensor)
    return out.unsqueeze(0)


AttentionInterface.register(ATTENTION, packed_attention)


class Output(NamedTuple):
    """What a forward pass returns.

    A tuple, since DeepSpeed looks for the tensors whose gradients begin a backward pass in tuples, lists and dicts alone.

    Attributes:
        losses: `[num_tasks]` fp32, each task's weighted loss; their sum is the loss of the micro-batch.
        logits: one fp32 tensor per group of the batch: `[n, outputs]`, multiple choice `[examples, choices]`, span QA
            `[examples, positions, 2]` with -inf where there is no choice or position.
        pooled: `[sequences, hidden]` fp32 mean over the tokens of each sequence at the layer asked for, else None.
    """

    losses: Tensor
    logits: list[Tensor]
    pooled: Tensor | None = None


class Model(nn.Module):
    """Encoder, the one linear layer of heads, and the masked-LM head where the mixture needs it.

    Args:
        encoder: with `xlray_packed` attention.
        plan: which outputs belong to which task. Without outputs there is no layer of heads; the masked-LM head, whose
            decoder is tied to the embedding, exists only when a task is masked language modelling.
        dropout: probability for hidden states.
    """

    def __init__(self, encoder: XLMRobertaModel, plan: Layout, dropout: float):
        super().__init__()
        self.encoder = encoder
        hidden_size = encoder.config.hidden_size
        self.num_tasks = len(plan.kinds)
        self.heads = nn.Linear(hidden_size, plan.num_outputs) if plan.num_outputs else None
        self.lm_head = MaskedLMHead(encoder.config) if "mlm" in plan.kinds else None
        self.dropouts = _replace_dropout(encoder, dropout)
        self.head_dropout = CounterDropout(len(self.dropouts), dropout)
        self.reads: Tensor | None = None
        encoder.encoder.layer[-1].attention.output.register_forward_pre_hook(self._keep_reads)
        _silence_shifts(self, plan)

    def _keep_reads(self, _: nn.Module, states: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor] | None:
        # After the last attention no token looks at another one, so that only those that a head reads continue: for
        # classification one of a sequence. Counter-based dropout gives them the masks they had among all.
        return None if self.reads is None else (states[0][:, self.reads], states[1][:, self.reads])

    def forward(self, batch: Batch, layer: int | None = None) -> Output:
        """Losses and logits of a packed micro-batch; with `layer`, mean-pooled states of that hidden layer instead."""
        reads = [group.reads for group in batch.groups] if self.heads is not None else []
        masked = batch.masked if self.lm_head is not None else None
        counts = [len(part) for part in reads]
        everything = torch.cat([*reads, *([masked.reads] if masked else [])]) if layer is None else None
        self._prepare(batch, everything, sum(counts))
        losses = torch.zeros(self.num_tasks, dtype=torch.float32, device=batch.input_ids.device)
        if layer is not None:
            return Output(losses, [], _mean_pool(self._hidden_states(batch, layer)[0], batch.sequences))
        states = self.encoder(input_ids=batch.input_ids, position_ids=batch.position_ids, sequences=batch.sequences)
        read, rest = states.last_hidden_state[0].split([sum(counts), len(masked.reads) if masked else 0])
        logits: list[Tensor] = []
        if self.heads is not None:
            # One call for all tasks: under ZeRO 3 each call gathers the layer, and ranks see different tasks.
            parts = self.heads(self.head_dropout(read)).float().split(counts)
            for group, part in zip(batch.groups, parts, strict=True):
                loss, shaped = group_loss(group, part[:, group.first : group.first + group.count])
                losses = losses.index_add(0, group.task, loss[None])
                logits.append(shaped)
        if self.lm_head is not None and masked is not None:
            scores = self.lm_head(rest, self.encoder.embeddings.word_embeddings)
            per_token = F.cross_entropy(scores.float(), masked.labels, reduction="none")
            losses = losses.index_add(0, masked.task, (per_token * masked.weights).sum()[None])
        return Output(losses, logits)

    def _hidden_states(self, batch: Batch, layer: int) -> Tensor:
        """`[1, T, hidden]`: what the encoder returns as `hidden_states[layer]`, without the layers above it."""
        states = self.encoder.embeddings(input_ids=batch.input_ids, position_ids=batch.position_ids)
        for module in self.encoder.encoder.layer[:layer]:
            states = module(states, sequences=batch.sequences)
        return states  # type: ignore[no-any-return]

    def _prepare(self, batch: Batch, reads: Tensor | None, num_heads: int) -> None:
        """Tell the modules of the coming forward pass, and of its recomputation, which tokens they see.

        Args:
            reads: tokens that a head reads, those of the linear heads, `num_heads` of them, first.
        """
        self.reads = reads
        keys = batch.keys if reads is None else batch.keys[reads]
        for module in self.dropouts[:-2]:
            module.keys = batch.keys
        for module in self.dropouts[-2:]:  # behind the last attention
            module.keys = keys
        self.head_dropout.keys = keys[:num_heads]


class MaskedLMHead(nn.Module):
    """transformers' XLM-R masked-LM head with the decoder's weight taken from the embedding at each call."""

    def __init__(self, config: XLMRobertaConfig) -> None:
        super().__init__()
        head = masked_lm_head(config)
        self.dense, self.layer_norm, self.bias = head.dense, head.layer_norm, head.bias

    def forward(self, hidden: Tensor, embedding: nn.Embedding) -> Tensor:
        """`[n, hidden]` -> `[n, vocabulary]`."""
        return F.linear(self.layer_norm(F.gelu(self.dense(hidden))), embedding.weight, self.bias)


def group_loss(group: Group, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The weighted loss (fp32 scalar) and the logits in their final shape, for the examples of one task in a pack.

    Args:
        scores: `[reads, outputs]` fp32.
    """
    if group.kind == "regression":
        values = scores[:, 0]
        return (((values - group.labels) ** 2) * group.weights).sum(), values[:, None]
    if group.kind in ("classification", "tagging"):
        per_label = F.cross_entropy(scores, group.labels, reduction="none", ignore_index=-1)
        return (per_label * group.weights).sum(), scores
    assert group.segments is not None
    # One row per example: the scores of its choices or positions, -inf where it has fewer than the longest. Softmax over
    # them ignores the head's bias; see `_silence_shifts` for why its gradient must be exactly zero.
    missing = group.segments < 0
    shaped = scores[group.segments.clamp(min=0)].masked_fill(missing[..., None], -math.inf)
    if group.kind == "multiple_choice":
        per_label = F.cross_entropy(shaped[..., 0], group.labels, reduction="none", ignore_index=-1)
        return (per_label * group.weights).sum(), shaped[..., 0]
    ends = F.cross_entropy(shaped.transpose(1, 2).flatten(0, 1), group.labels, reduction="none", ignore_index=-1)
    return (ends.view(-1, 2).mean(1) * group.weights).sum(), shaped


def _silence_shifts(model: Model, plan: Layout) -> None:
    """Make exactly zero the gradients that are zero but for rounding.

    A shift of all keys changes no attention weight, and a shift of all choices or positions no probability. AdamW would
    scale the rounding up to full steps: parameters would differ between executions although no output does.
    """
    for name, parameter in model.encoder.named_parameters():
        if name.endswith("attention.self.key.bias"):
            parameter.register_hook(torch.zeros_like)
    if model.heads is not None and not all(plan.shifted):
        on_device = functools.cache(torch.tensor(plan.shifted).to)  # each copy would wait for the device
        model.heads.bias.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: gradient * on_device(gradient.device)
        )


def _mean_pool(states: Tensor, sequences: PackedSequences) -> Tensor:
    """Mean over all tokens of each sequence, special ones included, as XTREME's Tatoeba script does."""
    parts = [
        states[start : start + count * length].float().view(count, length, -1).mean(1)
        for start, count, length in sequences.runs
    ]
    return torch.cat(parts)


def _replace_dropout(encoder: nn.Module, probability: float) -> list[CounterDropout]:
    found: list[CounterDropout] = []
    for name, module in list(encoder.named_modules()):
        if isinstance(module, nn.Dropout) and not name.endswith("self.dropout"):  # no packed kernel drops attention
            parent, _, leaf = name.rpartition(".")
            found.append(CounterDropout(len(found), probability))
            setattr(encoder.get_submodule(parent), leaf, found[-1])
    return found


def random_encoder(architecture: Architecture, seed: int) -> XLMRobertaModel:
    """An XLM-R with random weights, equal for equal seeds, whatever the state of torch's generators."""
    config = XLMRobertaConfig(
        vocab_size=architecture.vocab_size,
        hidden_size=architecture.hidden_size,
        num_hidden_layers=architecture.num_layers,
        num_attention_heads=architecture.num_heads,
        intermediate_size=architecture.intermediate_size,
        max_position_embeddings=architecture.max_positions,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        initializer_range=architecture.initializer_range,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _encoder(config)


def _encoder(config: XLMRobertaConfig) -> XLMRobertaModel:
    config.attention_probs_dropout_prob = 0.0
    set_attention(config, ATTENTION)
    return XLMRobertaModel(config, add_pooling_layer=False)


def empty_encoder(folder: Path) -> XLMRobertaModel:
    """An encoder with the configuration in `folder`, all of whose weights are to be set: they hold anything."""
    with no_init_weights():
        return _encoder(XLMRobertaConfig.from_pretrained(folder))


def load_encoder(folder: Path) -> tuple[XLMRobertaModel, dict[str, Tensor]]:
    """The encoder in a folder of XLM-R's layout, fp32, and the weights of its masked-LM head if it has one.

    Raises:
        InputError: no weights, missing or unexpected weights (named), or shapes that do not fit config.json.
    """
    from safetensors.torch import load_file

    check_weights(folder)
    weights: dict[str, Tensor] = {}
    for name in weight_files(folder):
        weights |= load_file(folder / name)
    encoder = empty_encoder(folder)
    head = {k.removeprefix("lm_head."): v.float() for k, v in weights.items() if k.startswith("lm_head.")}
    body = {k: weights[name].float() for k, name in body_names(weights).items()}
    encoder.load_state_dict(body)
    return encoder, {
        k: v for k, v in head.items() if k in ("dense.weight", "dense.bias", "bias") or k.startswith("layer_norm.")
    }


def initialise_heads(model: Model, seed: int) -> None:
    """Fresh weights for the heads: normal with the encoder's initializer range, zero bias; equal for equal seeds."""
    generator = torch.Generator().manual_seed(seed)
    scale = float(model.encoder.config.initializer_range)
    for module in (model.heads, model.lm_head.dense if model.lm_head is not None else None):
        if module is not None:
            with torch.no_grad():
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) * scale)
                module.bias.zero_()
