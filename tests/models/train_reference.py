#!/usr/bin/env python3
"""Trains an exported folder as PyTorch would, for the runner's own training to be held against.

usage: train_reference.py FOLDER    (holds training.json: batches of token ids, learning rates, and the constants)
Prints one JSON object: the loss of every step, and the norm of every trained weight by name.
"""
import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM


def losses_of(model, dense, sequences, share):
    """Sum over positions of (1 - share) cross-entropy + share KL(dense || model), and their number."""
    total, positions = 0.0, 0
    for ids in sequences:
        ids = torch.tensor([ids])
        log_q = model(ids).logits[0, :-1].log_softmax(-1)
        loss = (1 - share) * -log_q.gather(1, ids[0, 1:, None]).sum()
        if share:
            with torch.no_grad():
                log_p = dense(ids).logits[0, :-1].log_softmax(-1)
            loss = loss + share * (log_p.exp() * (log_p - log_q)).sum()
        total, positions = total + loss, positions + ids.shape[1] - 1
    return total / positions


def main(folder):
    folder = pathlib.Path(folder)
    told = json.loads((folder / "training.json").read_text())
    torch.set_num_threads(1)

    def load(where):
        return AutoModelForCausalLM.from_pretrained(where, trust_remote_code=True, dtype=torch.float32)

    model, dense = load(folder), load(told["dense"]).eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.0, betas=(0.9, 0.999), eps=1e-8, weight_decay=told["weight_decay"])
    losses = []
    for rate, sequences in zip(told["rates"], told["batches"]):
        loss = losses_of(model, dense, sequences, told["share"])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), told["gradient_norm"])
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        losses.append(loss.item())
    norms = {name: weight.norm().item() for name, weight in model.named_parameters()}
    print(json.dumps({"losses": losses, "norms": norms}))


if __name__ == "__main__":
    main(*sys.argv[1:])
