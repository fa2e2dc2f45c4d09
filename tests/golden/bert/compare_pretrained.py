#!/usr/bin/env python3
"""Compares slimgrad with Hugging Face's transformers on a real checkpoint and real sentences.

    pip install torch==2.13.0 transformers==5.23.0
    ninja -C build bert_values
    python tests/golden/bert/compare_pretrained.py CHECKPOINT MRPC

CHECKPOINT is a directory with config.json, vocab.txt or tokenizer.json, and model.safetensors; MRPC
holds msr_paraphrase_test.txt and msr_paraphrase_train.txt. `bert_values` does slimgrad's part, in
float32: it reads both, computes, and writes the model as a checkpoint with the classifier that it
drew. transformers reads what it wrote and computes in float64, and once more in float32, for what
another float32 program differs by. Compared are

    weights          what slimgrad wrote with what transformers reads from CHECKPOINT: equal bits
    token ids        all equal
    hidden states    of every block, tokens that are not padding: max |difference|, at most 1e-4
    logits, loss     the same
    gradients        of all parameters: |difference| / |gradient| (2-norms), at most 1e-3

A key's bias adds one number to all scores of a query, which softmax ignores: its gradient is 0 but
for rounding. Its error is given relative to the gradient of the query's bias beside it.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file


def sentences(mrpc, count):
    lines = (mrpc / "msr_paraphrase_test.txt").read_text("utf-8-sig").splitlines()[1 : count + 1]
    rows = [line.split("\t") for line in lines]
    return [row[3] for row in rows], [row[4] for row in rows], [int(row[0]) for row in rows]


def results(model, dtype, inputs, labels):
    model.to(dtype).zero_grad()
    output = model(**inputs, labels=labels, output_hidden_states=True)
    output.loss.backward()
    values = {f"hidden.{i}": h for i, h in enumerate(output.hidden_states)}
    values |= {"logits": output.logits, "loss": output.loss}
    values |= {f"grad/{name}": p.grad for name, p in model.named_parameters()}
    return {name: value.detach().double() for name, value in values.items()}


def reference_norm(name, exact):
    """The size that an error of this gradient is relative to."""
    for key, query in (".self.key.bias", ".self.query.bias"), (".k_lin.bias", ".q_lin.bias"):
        name = name.replace(key, query)
    return exact[name].norm()


def errors(got, exact, keep):
    """Of one program: of each hidden state, of logits and loss, of each gradient."""
    found = {}
    for name, value in exact.items():
        difference = got[name].double() - value
        if name.startswith("grad/"):
            found[name] = (difference.norm() / reference_norm(name, exact)).item()
        else:
            found[name] = (difference[keep] if name.startswith("hidden") else difference).abs().max().item()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=pathlib.Path)
    parser.add_argument("mrpc", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=32, help="pairs")
    parser.add_argument("--max-length", type=int, default=128)
    parser.add_argument("--program", default="build/tests/train/bert_values")
    parser.add_argument("--list", action="store_true", help="show every gradient")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as out:
        out = pathlib.Path(out)
        command = [args.program, args.checkpoint, args.mrpc, args.count, args.max_length, out]
        said = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True)
        print("slimgrad reads the checkpoint:", said.stdout.strip())
        ours = load_file(out / "values.safetensors")
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            out / "model", attn_implementation="eager").eval()
    base = transformers.AutoModel.from_pretrained(args.checkpoint)
    theirs = {name: p for name, p in base.named_parameters() if not name.startswith("pooler.")}
    copied = dict(model.base_model.named_parameters())
    failed = [name for name, p in theirs.items() if not torch.equal(p, copied[name])]
    print(f"weights: {len(theirs)} tensors, {len(failed)} differ")

    first, second, labels = sentences(args.mrpc, args.count)
    tokenizer = transformers.AutoTokenizer.from_pretrained(args.checkpoint)
    inputs = tokenizer(first, second, truncation="longest_first", max_length=args.max_length,
                       padding="longest", return_tensors="pt")
    if model.config.model_type == "distilbert":
        inputs.pop("token_type_ids", None)
    shape = inputs["input_ids"].shape
    same = torch.equal(ours["ids"].view(-1, 1), inputs["input_ids"].view(-1, 1)) and torch.equal(
        ours["padding"].long(), 1 - inputs["attention_mask"]) and ours["labels"].tolist() == labels
    print(f"token ids, padding and labels, {tuple(shape)}: {'equal' if same else 'DIFFERENT'}")
    if not same:
        sys.exit(1)

    keep = inputs["attention_mask"].bool()
    labels = torch.tensor(labels)
    single = results(model, torch.float32, inputs, labels)
    exact = results(model, torch.float64, inputs, labels)
    got, other = errors(ours, exact, keep), errors(single, exact, keep)

    print(f"\n{'':54}{'slimgrad':>10}{'PyTorch':>10}{'allowed':>10}   (both float32)")
    gradients = sorted((n for n in exact if n.startswith("grad/")), key=got.get, reverse=True)
    shown = [name for name in exact if name not in gradients]
    shown += gradients if args.list else gradients[:8]
    for name in shown:
        allowed = 1e-3 if name.startswith("grad/") else 1e-4
        print(f"{name:54}{got[name]:10.1e}{other[name]:10.1e}{allowed:10.0e}")
    if not args.list:
        print(f"(the {len(gradients)} gradients' worst 8; all: --list)")
    failed += [n for n in exact if not got[n] <= (1e-3 if n.startswith("grad/") else 1e-4)]
    print("FAILED: " + ", ".join(failed) if failed else "all within bounds")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
