#!/usr/bin/env python3
"""Writes what Hugging Face's `tokenizers` makes of some text, for tests/data_tokenizer_test.cpp.

    pip install tokenizers==0.23.3
    python make.py --paws DIR                     # the files beside this script
    python make.py --paws DIR --mrpc DIR --vocab FILE --out DIR2     # everything, with a real vocabulary:
    SLIMGRAD_TOKENIZER_CASES=DIR2 build/tests/tests_f32 --gtest_filter='Tokenizer.*'

DIR: PAWS-Wiki's dev.tsv and test.tsv; MRPC's msr_paraphrase_{train,test}.txt. FILE: a vocab.txt or tokenizer.json.
"""
import argparse
import collections
import json
import pathlib
import shutil

import tokenizers
from tokenizers import AddedToken, BertWordPieceTokenizer, Tokenizer, models, normalizers
from tokenizers.pre_tokenizers import BertPreTokenizer

import torture

HERE = pathlib.Path(__file__).resolve().parent
VERSION = 1
# clean_text, handle_chinese_chars, lowercase, strip_accents
OPTIONS = [(True, True, True, None), (True, True, False, None), (True, False, True, False), (False, True, False, True)]
LENGTHS = [0, 3, 4, 5, 16, 17, 32, 64]


def normalizer(options):
    clean, chinese, lower, strip = options
    return normalizers.BertNormalizer(clean_text=clean, handle_chinese_chars=chinese, lowercase=lower, strip_accents=strip)


def read_rows(file, first, second):
    lines = file.read_text(encoding="utf-8-sig").split("\n")[1:]
    return [(row[first], row[second]) for row in (line.split("\t") for line in lines if line)]


def make_vocabulary(texts, alphabet_of):
    """Special tokens, characters, and the most frequent words, beginnings and ends of words."""
    characters, pieces = set(), collections.Counter()
    for options in OPTIONS:
        for text in alphabet_of:
            characters.update(c for c in normalizer(options).normalize_str(text) if not c.isspace())
        for text in texts:
            for word, _ in BertPreTokenizer().pre_tokenize_str(normalizer(options).normalize_str(text)):
                pieces[word] += 3
                for cut in range(1, min(len(word), 12)):
                    pieces[word[:cut]] += 1
                    pieces["##" + word[cut:]] += 1
    # Characters that end a line would not survive in a file of lines.
    characters = sorted(c for c in characters if c.isprintable() or ord(c) > 0x2FF)
    frequent = [p for p, _ in sorted(pieces.items(), key=lambda item: (-item[1], item[0]))]
    tokens = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *("##" + c for c in characters)]
    return list(dict.fromkeys(tokens + [p for p in frequent if p.isprintable()][:2500]))


def encode(tokenizer, text, pair, length):
    tokenizer.no_truncation()
    if length:
        tokenizer.enable_truncation(length)
    encoding = tokenizer.encode(text) if pair is None else tokenizer.encode(text, pair)
    return {"ids": encoding.ids, "first": encoding.type_ids.count(0)}


def write_cases(path, tokenizers_, cases):
    with open(path, "w") as file:
        header = {"magic": "slimgrad-tokenizer", "version": VERSION, "tokenizers": tokenizers.__version__,
                  "options": [o for o, _ in tokenizers_]}
        print(json.dumps(header), file=file)
        for text, pair, length in cases:
            case = {"text": text, "pair": pair, "length": length,
                    "results": [encode(t, text, pair, length) for _, t in tokenizers_]}
            print(json.dumps(case, separators=(",", ":")), file=file)
    print(f"{path}: {len(cases)} texts and pairs, {len(tokenizers_)} settings, {path.stat().st_size} bytes")


def digest(numbers):
    """FNV-1a on words of 32 bits."""
    state = 0xCBF29CE484222325
    for number in numbers:
        state = ((state ^ number) * 0x100000001B3) & (2**64 - 1)
    return state


def write_characters(path):
    """What every code point is, as ranges, and digests of what becomes of it, by blocks of 4096."""
    points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    nothing = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    made = {key: normalizers.BertNormalizer(**{**nothing, key: True}) for key in nothing}
    pre, nfd = BertPreTokenizer(), normalizers.NFD()
    whole = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    whole.add_tokens([AddedToken("token", single_word=True, normalized=False)])
    of = {"control": lambda c: made["clean_text"].normalize_str(c) == "" and c != "\ufffd",
          "whitespace": lambda c: len(pre.pre_tokenize_str(f"a{c}b")) == 2,
          "punctuation": lambda c: len(pre.pre_tokenize_str(f"a{c}b")) == 3,
          "mark": lambda c: made["strip_accents"].normalize_str(c) == "" ,
          "cjk": lambda c: made["handle_chinese_chars"].normalize_str(c) != c,
          "word": lambda c: 1 not in whole.encode(f"token{c}").ids}
    document = {"magic": "slimgrad-characters", "version": VERSION, "tokenizers": tokenizers.__version__}
    for name, holds in of.items():
        ranges = []
        for c in filter(lambda c: holds(chr(c)), points):
            if ranges and ranges[-1][1] == c - 1:
                ranges[-1][1] = c
            else:
                ranges.append([c, c])
        document[name] = ranges
    become = {"nfd": lambda c: nfd.normalize_str(c),
              "order": lambda c: nfd.normalize_str(f"a\u0345{c}a{c}\u0334"),
              "lowercase": lambda c: made["lowercase"].normalize_str(c)}
    for name, result in become.items():
        document[name] = [f"{digest(ord(x) for c in points if c >> 12 == block for x in result(chr(c)) + chr(0)):016x}"
                          for block in range(0x110)]
    path.write_text(json.dumps(document, separators=(",", ":")).replace(',"', ',\n"') + "\n")
    print(f"{path}: {path.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--paws", type=pathlib.Path, required=True)
    parser.add_argument("--mrpc", type=pathlib.Path)
    parser.add_argument("--vocab", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    rows = [row for name in ("dev.tsv", "test.tsv") for row in read_rows(arguments.paws / name, 1, 2)]
    if arguments.vocab:
        for name in ("train", "test") if arguments.mrpc else ():
            rows += read_rows(arguments.mrpc / f"msr_paraphrase_{name}.txt", 3, 4)
        hard = torture.lines(20000) + torture.sweep()
        vocabulary = out / arguments.vocab.name
        shutil.copy(arguments.vocab, vocabulary)
        cases = [(text, None, 0) for text in hard + [s for row in rows for s in row]]
        cases += [(*row, length) for row in rows for length in (0, 128, 64)]
        cases += [(*row, length) for row in rows[::50] for length in range(3, 60)]
    else:
        rows = rows[::160]
        hard = torture.lines(80)
        vocabulary = out / "vocab.txt"
        tokens = make_vocabulary([s for row in rows for s in row], torture.WRITTEN + hard[-40:])
        vocabulary.write_text("\n".join(tokens) + "\n", encoding="utf-8")
        cases = [(text, None, 0) for text in hard] + [(*row, LENGTHS[i % len(LENGTHS)]) for i, row in enumerate(rows)]
        cases += [(hard[i], hard[-i], LENGTHS[i % len(LENGTHS)]) for i in range(1, 60)]
        write_characters(out / "characters.json")
    if vocabulary.suffix == ".json":
        settings = [(None, Tokenizer.from_file(str(vocabulary)))]
        settings[0][1].no_padding()
    else:
        settings = [(o, BertWordPieceTokenizer(str(vocabulary), clean_text=o[0], handle_chinese_chars=o[1], lowercase=o[2],
                                               strip_accents=o[3])) for o in (OPTIONS if not arguments.vocab else OPTIONS[:1])]
    write_cases(out / "cases.jsonl", settings, cases)
    if not arguments.vocab:
        # The same vocabulary as `tokenizers` stores it.
        settings[1][1].enable_truncation(128)
        settings[1][1].enable_padding(length=128)
        settings[1][1].save(str(out / "tokenizer.json"), pretty=False)


if __name__ == "__main__":
    main()
