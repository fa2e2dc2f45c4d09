#!/usr/bin/env python3
"""Makes train.tsv, test.tsv and vocab.txt of embedded-text from PAWS-Wiki Labeled (Final).

    pip install tokenizers==0.23.3
    python3 make.py DIR          # with PAWS-Wiki's dev.tsv and test.tsv

From each file the first pairs of each label whose two sentences have at most WORDS words together, the labels in
turn. The vocabulary: special tokens, the characters of dev.tsv, and what joining the most frequent pair of neighbours
in its words makes, again and again (byte-pair encoding; of equally frequent pairs the first in order).
"""
import collections
import pathlib
import sys

from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

WORDS = 44
# (split here, file there, pairs of each label)
SPLITS = [("train", "dev.tsv", 750), ("test", "test.tsv", 200)]
VOCABULARY = 4000


def read(file):
    header, *lines = file.read_text(encoding="utf-8").rstrip("\n").split("\n")
    assert header == "id\tsentence1\tsentence2\tlabel", header
    return header, [line.split("\t") for line in lines]


def make_vocabulary(sentences):
    counts = collections.Counter(word for sentence in sentences
                                 for word, _ in BertPreTokenizer().pre_tokenize_str(BertNormalizer().normalize_str(sentence)))
    words = [([word[0], *("##" + c for c in word[1:])], count) for word, count in sorted(counts.items())]
    letters = collections.Counter()
    pairs, places = collections.Counter(), collections.defaultdict(set)
    for i, (pieces, count) in enumerate(words):
        for piece in pieces:
            letters[piece] += count
        for pair in zip(pieces, pieces[1:]):
            pairs[pair] += count
            places[pair].add(i)
    frequent = sorted(piece for piece, count in letters.items() if count > 1)
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *frequent]
    while len(tokens) < VOCABULARY:
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        joined = best[0] + best[1].removeprefix("##")
        tokens.append(joined)
        for i in sorted(places[best]):
            pieces, count = words[i]
            for pair in zip(pieces, pieces[1:]):
                pairs[pair] -= count
            at = 0
            while at + 1 < len(pieces):
                if (pieces[at], pieces[at + 1]) == best:
                    pieces[at:at + 2] = [joined]
                at += 1
            for pair in zip(pieces, pieces[1:]):
                pairs[pair] += count
                places[pair].add(i)
        del pairs[best]
    return list(dict.fromkeys(tokens))


def main():
    source = pathlib.Path(sys.argv[1])
    target = pathlib.Path(__file__).resolve().parent
    for split, name, count in SPLITS:
        header, rows = read(source / name)
        short = [row for row in rows if len(row[1].split()) + len(row[2].split()) <= WORDS]
        labels = [[row for row in short if row[3] == label][:count] for label in "10"]
        assert all(len(rows) == count for rows in labels)
        chosen = [row for pair in zip(*labels) for row in pair]
        text = "\n".join([header, *("\t".join(row) for row in chosen)]) + "\n"
        (target / f"{split}.tsv").write_bytes(text.encode())
    _, rows = read(source / "dev.tsv")
    tokens = make_vocabulary(sentence for row in rows for sentence in row[1:3])
    (target / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
