#!/usr/bin/env python3
"""Writes what transformers' AutoTokenizer makes of directories with odd tokenizers, for tests/data_tokenizer_files_test.cpp.

    pip install transformers==5.24.0 tokenizers==0.23.3
    python directories.py                                   # directories.jsonl beside this script
    python directories.py --random 20000 --out FILE         # more, at random:
    SLIMGRAD_TOKENIZER_DIRECTORIES=FILE build/tests/tests_f32 --gtest_filter='TokenizerFiles.*'

and what AutoTokenizer makes of the directories that slimgrad saves again:

    SLIMGRAD_TOKENIZER_SAVED=DIR build/tests/tests_f32 --gtest_filter='TokenizerFiles.*'
    python directories.py --check DIR [--out FILE]
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import tokenizers  # noqa: E402
import transformers  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
VERSION = 1
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "a b c d e ##x ##y . , the cat Cat The é caf ##é ##e cafe 中 [ ] world ##world wor ##ld _ 1 ##1 - ##a".split()
VOCABULARY = SPECIAL + WORDS
NEXT = len(VOCABULARY)  # the first id that is free
TEXTS = ["The Cat café", "the [WORLD] world", "[WORLD]cat", "x [world] the", "the   [WORLD]   cat", "a[CLS]b [cls]",
         "caféworld1 world1 1world _world", "中cat", "[MASK] [SEP]", "\t[WORLD]\u00a0[WORLD]"]


def added(content, number=None, **flags):
    token = dict(content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
    if number is not None:
        token["id"] = number
    token.update(flags)
    return token


def tokenizer_json(vocabulary=None, more=(), specials=True, lowercase=True, strip_accents=None, chinese=True, typed=True, **model):
    vocabulary = {token: i for i, token in enumerate(VOCABULARY)} if vocabulary is None else vocabulary
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": [added(s, vocabulary[s], special=True) for s in SPECIAL if specials] + list(more),
            "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": chinese,
                           "strip_accents": strip_accents, "lowercase": lowercase},
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": None, "decoder": None,
            "model": {**({"type": "WordPiece"} if typed else {}), "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, **model, "vocab": vocabulary}}


def lines(vocabulary=None):
    return "\n".join(VOCABULARY if vocabulary is None else vocabulary) + "\n"


def with_line(number, text):
    changed = list(VOCABULARY)
    changed[number] = text
    return lines(changed)


def decoder(*tokens):
    return {str(token["id"]): {k: v for k, v in token.items() if k != "id"} for token in tokens}


def systematic():
    """Names and files; texts become JSON unless they are text already."""
    yes_no_null = [None, True, False]
    for lower in yes_no_null:
        for strip in yes_no_null:
            config = {k: v for k, v in (("do_lower_case", lower), ("strip_accents", strip)) if v is not None}
            name = f"lower {lower}, strip {strip}"
            yield "vocab.txt, " + name, {"vocab.txt": lines(), "tokenizer_config.json": config}
            yield "json of the opposite, " + name, {
                "tokenizer.json": tokenizer_json(lowercase=lower is False, strip_accents=strip is not True, chinese=False),
                "tokenizer_config.json": {**config, "tokenizer_class": "BertTokenizer"}}
            yield "json as it is, " + name, {
                "tokenizer.json": tokenizer_json(lowercase=lower is not False, strip_accents=strip),
                "tokenizer_config.json": {**config, "tokenizer_class": "PreTrainedTokenizerFast"}}
    yield "vocab.txt alone", {"vocab.txt": lines()}
    yield "json alone, capitals", {"tokenizer.json": tokenizer_json(lowercase=False)}
    yield "json, class of DistilBERT", {"tokenizer.json": tokenizer_json(lowercase=False),
                                        "tokenizer_config.json": {"tokenizer_class": "DistilBertTokenizer"}}
    yield "json, class in config.json", {"tokenizer.json": tokenizer_json(lowercase=False),
                                         "config.json": {"model_type": "bert", "tokenizer_class": "PreTrainedTokenizerFast"}}
    yield "no ideographs", {"vocab.txt": lines(), "tokenizer_config.json": {"tokenize_chinese_chars": False}}
    yield "json comes before vocab.txt", {"tokenizer.json": tokenizer_json(), "vocab.txt": lines(VOCABULARY[:5] + WORDS[::-1])}

    world = [dict(zip(("lstrip", "rstrip", "single_word", "normalized", "special"), map(bool, map(int, f"{i:05b}"))))
             for i in range(32)]
    for flags in world:
        name = ", ".join(k for k, v in flags.items() if v) or "plain"
        token = added("[WORLD]", NEXT, **flags)
        yield "json added: " + name, {"tokenizer.json": tokenizer_json(more=[token])}
        if not flags["special"]:
            yield "decoder: " + name, {"vocab.txt": lines(), "tokenizer_config.json": {"added_tokens_decoder": decoder(token)}}
    more = {"[WORLD]": NEXT}
    yield "added_tokens.json", {"vocab.txt": lines(), "added_tokens.json": more}
    yield "added_tokens.json, special", {"vocab.txt": lines(), "added_tokens.json": more,
                                         "tokenizer_config.json": {"additional_special_tokens": ["[WORLD]"]}}
    yield "additional, without an id", {"vocab.txt": lines(), "tokenizer_config.json": {"additional_special_tokens": ["[WORLD]"]}}
    yield "extra, without an id", {"vocab.txt": lines(), "tokenizer_config.json": {"extra_special_tokens": ["[WORLD]", "cat"]}}
    yield "additional in the map", {"vocab.txt": lines(), "special_tokens_map.json": {"additional_special_tokens": ["[WORLD]"]}}
    yield "json and added_tokens.json", {"tokenizer.json": tokenizer_json(more=[added("[WORLD]", NEXT)]), "added_tokens.json": more}
    yield "added_tokens.json beside json", {"tokenizer.json": tokenizer_json(), "added_tokens.json": more}
    yield "decoder comes before json", {
        "tokenizer.json": tokenizer_json(more=[added("[WORLD]", NEXT, normalized=True)]),
        "tokenizer_config.json": {"added_tokens_decoder": decoder(*[added(s, i, special=True) for i, s in enumerate(SPECIAL)],
                                                                  added("[WORLD]", NEXT, lstrip=True))}}
    yield "decoder comes before added_tokens.json", {
        "vocab.txt": lines(), "added_tokens.json": {"[WORLD]": NEXT, "new": NEXT + 1},
        "tokenizer_config.json": {"added_tokens_decoder": decoder(added("[WORLD]", NEXT, normalized=True))}}
    yield "special tokens as objects", {
        "vocab.txt": lines(), "special_tokens_map.json": {"mask_token": {k: v for k, v in added("[MASK]", lstrip=True).items() if k != "special"},
                                                          "cls_token": "[CLS]"}}
    yield "special tokens after normalisation", {
        "tokenizer.json": tokenizer_json(specials=False, more=[added(s, i, special=True, normalized=True) for i, s in enumerate(SPECIAL)])}
    yield "a word of the vocabulary", {"tokenizer.json": tokenizer_json(more=[added("world", VOCABULARY.index("world"))])}
    yield "a word that is no piece", {"tokenizer.json": tokenizer_json(more=[added("worl", NEXT, single_word=True, normalized=True)])}
    yield "the longest of several", {"tokenizer.json": tokenizer_json(more=[
        added("[W", NEXT), added("[WORLD]", NEXT + 1), added("[WORLD] world", NEXT + 2), added("world", VOCABULARY.index("world"))])}
    yield "before and after normalisation", {"tokenizer.json": tokenizer_json(more=[
        added("The", VOCABULARY.index("The")), added("the c", NEXT, normalized=True), added("CAFÉ", NEXT + 1, normalized=True)])}
    yield "white space in tokens", {"tokenizer.json": tokenizer_json(more=[
        added(" ", NEXT), added("  [", NEXT + 1, rstrip=True), added("a b", NEXT + 2, normalized=True, lstrip=True)])}

    yield "a blank line", {"vocab.txt": with_line(6, "")}
    yield "a line of a space", {"vocab.txt": with_line(6, " ")}
    yield "a repeated token", {"vocab.txt": with_line(6, "the")}
    yield "a repeated special token", {"vocab.txt": with_line(6, "[CLS]")}
    yield "white space at ends", {"vocab.txt": lines(VOCABULARY[:5] + ["a ", "\u00a0b", "c\u00a0\u2003", "d\t", *WORDS[4:]])}
    yield "lines that end in CR LF", {"vocab.txt": "\r\n".join(VOCABULARY) + "\r\n"}
    yield "CR inside a line", {"vocab.txt": with_line(VOCABULARY.index("the"), "the\rq")}
    yield "no end of the last line", {"vocab.txt": lines()[:-1]}
    yield "blank lines at the end", {"vocab.txt": lines() + "\n\n"}

    yield "json without a type", {"tokenizer.json": tokenizer_json(typed=False)}
    short = tokenizer_json(typed=False)
    del short["model"]["continuing_subword_prefix"], short["model"]["max_input_chars_per_word"]
    yield "json without a type and options", {"tokenizer.json": short}
    yield "json with ids left out", {"tokenizer.json": tokenizer_json({t: i for i, t in enumerate(VOCABULARY) if t not in ("b", "cat")})}
    yield "another longest word", {"tokenizer.json": tokenizer_json(max_input_chars_per_word=3),
                                   "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}}


def random_directory(draw):
    """A few added tokens made of the same few characters, so that they overlap, with any flags."""
    alphabet = ["a", "A", "b", "é", "E\u0301", "中", " ", "  ", "_", "1", "-", ".", "[", "]", "the", "The", "wor", "world", "\u00a0", "\u200d", "ⓐ"]
    tokens, forms = [], set(SPECIAL)
    lower = transformers.models.bert.tokenization_bert.normalizers.BertNormalizer
    config = {k: v for k, v in (("do_lower_case", draw.choice([None, True, False])), ("strip_accents", draw.choice([None, True, False])),
                                ("tokenize_chinese_chars", draw.choice([None, True, False]))) if v is not None}
    normal = lower(lowercase=config.get("do_lower_case", True), strip_accents=config.get("strip_accents"),
                   handle_chinese_chars=config.get("tokenize_chinese_chars", True))
    for _ in range(draw.randint(1, 6)):
        content = "".join(draw.choices(alphabet, k=draw.randint(1, 4)))
        flags = {k: draw.random() < 0.4 for k in ("lstrip", "rstrip", "single_word", "normalized", "special")}
        form = normal.normalize_str(content)
        # Which of two equal forms is found depends on the order of a hash table there.
        if content in forms or form in forms or not form:
            continue
        forms |= {content, form}
        number = VOCABULARY.index(content) if content in VOCABULARY else NEXT + sum(t["id"] >= NEXT for t in tokens)
        tokens.append(added(content, number, **flags))
    texts = ["".join(draw.choices(alphabet + [t["content"] for t in tokens] * 2 + ["cat", "x", "\t", ","], k=draw.randint(1, 12)))
             for _ in range(4)]
    kind = draw.randrange(4)
    if kind == 0:
        return {"tokenizer.json": tokenizer_json(more=tokens, lowercase=draw.random() < 0.5), "tokenizer_config.json": config}, texts
    if kind == 1:
        return {"vocab.txt": lines(), "tokenizer_config.json": {**config, "added_tokens_decoder": decoder(*tokens)}}, texts
    if kind == 2:
        new = {t["content"]: t["id"] for t in tokens if t["id"] >= NEXT}
        return {"vocab.txt": lines(), "tokenizer_config.json": config, "added_tokens.json": new}, texts
    return {"tokenizer.json": tokenizer_json(more=tokens, lowercase=draw.random() < 0.5, strip_accents=draw.choice([None, True, False])),
            "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast"}}, texts


def ids_of(directory, texts):
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(directory))
    return [tokenizer.encode(text, add_special_tokens=False) for text in texts]


def write(out, cases):
    count = 0
    with open(out, "w") as file, tempfile.TemporaryDirectory() as place:
        header = {"magic": "slimgrad-directories", "version": VERSION, "transformers": transformers.__version__,
                  "tokenizers": tokenizers.__version__}
        print(json.dumps(header), file=file)
        for name, files, texts in cases:
            directory = pathlib.Path(place) / "model"
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            files = {"config.json": {"model_type": "bert"}, **files}
            files = {key: text if isinstance(text, str) else json.dumps(text, ensure_ascii=False) for key, text in files.items()}
            for key, text in files.items():
                (directory / key).write_bytes(text.encode())
            try:
                ids = ids_of(directory, texts)
            except BaseException as error:  # the library itself fails where tokens overlap in white space
                if "bad split" not in str(error):
                    raise
                continue
            print(json.dumps({"name": name, "files": files, "texts": texts, "ids": ids}), file=file)
            count += 1
    print(f"{out}: {count} directories, {os.path.getsize(out)} bytes")


def check(out, saved):
    """The directories that slimgrad has written from those of the file, under their line numbers."""
    wrong = count = 0
    with open(out) as file:
        next(file)
        for number, line in enumerate(file):
            case = json.loads(line)
            directory = saved / str(number)
            if not directory.exists():
                continue
            (directory / "config.json").write_text('{"model_type": "bert"}')
            count += 1
            got = ids_of(directory, case["texts"])
            if got != case["ids"]:
                wrong += 1
                print(number, case["name"], case["texts"], got, "not", case["ids"])
    print(f"{count} saved directories, {wrong} give other ids")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--check", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "directories.jsonl")
    arguments = parser.parse_args()
    if arguments.check:
        raise SystemExit(1 if check(arguments.out, arguments.check) else 0)
    draw = random.Random(arguments.seed)
    if arguments.random:
        made = (random_directory(draw) for _ in range(arguments.random))
        write(arguments.out, ((f"random {i}", *directory) for i, directory in enumerate(made)))
    else:
        more = [(f"random {i}", *random_directory(draw)) for i in range(60)]
        write(arguments.out, [(name, files, TEXTS) for name, files in systematic()] + more)


if __name__ == "__main__":
    main()
