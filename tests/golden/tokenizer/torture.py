"""Text that is hard on a tokenizer, the same lines at every run."""
import random

# Written by hand: one idea a line.
WRITTEN = [
    "", " ", "\t\n\r ", "a", "A", "I'm here, aren't I?", "  bad   spacing ,like this.And  this ( too )  ",
    "no.space.after.full.stops", "e-mail: someone@example.org, http://example.org/?a=1&b=2#c",
    "$1,234.56 or 1.234,56 € £3 ¥4 ₹5 ₿6 §7 ¶8 †9 ‡0 ‰ ‱", "snake_case CamelCase kebab-case UPPERCASE tElEpHoNe",
    "\"straight\" ‘single’ “double” «guillemets» „low“ ‹one› 「corner」 『double corner』 【lenticular】",
    "a-b a‐b a‑b a‒b a–b a—b a―b a−b a⁃b a﹣b a－b", "...…‥․ ,，、､ .。｡．", "!!!???!?‽¡¿",
    "naïve café résumé coöperate Ångström façade señor Škoda Øre Łódź ßtraße ĳssel ŒUVRE Æsir Þór ðæt",
    "nai\u0308ve cafe\u0301 re\u0301sume\u0301 A\u030angstro\u0308m Vie\u0323\u0302t Vie\u0302\u0323t",
    "Việt Nam Hà Nội Đặng Phở ơ̛ ư̛ ǖ ǘ ǚ ǜ", "İstanbul ISPARTA ıspırta i̇ I\u0307 DŽungla ǅ ǈ ǋ ǲ",
    "ﬁne ﬂow oﬃce ﬆ ﬅ № ™ ℃ Å Ω K ½ ² ³ ¹ ª º ㎏ ㍿ ﷺ", "ΑΒΓ άλφα Ὀδυσσεύς ΟΔΥΣΣΕΥΣ ΣΣ ς σ ᾳ ῷ ᾼ ΐ",
    "Привет мир Ёлка ёлка Йод йод Україна їжак ЉУБАВ Ѩ Ꙗ", "שלום עולם שָׁלוֹם־עוֹלָם ׳ ״", "السلام عليكم مُحَمَّد ﷲ ـــ ٠١٢٣ ، ؛ ؟",
    "नमस्ते दुनिया क्षत्रिय श्री", "สวัสดีชาวโลก ภาษาไทย", "안녕하세요 한국어 \u1112\u1161\u11ab\u1100\u1173\u11af ㅎㅏㄴ ﾊﾝ", "こんにちは世界 カタカナ ｶﾀｶﾅ が か\u3099 ぱ は\u309a ー 々 〆",
    "中文和English混合text中文", "漢字と仮名 豈更車 \U00020000\U0002a6df \U0002a700\U0002b740 \U0002b820\U0002b91f \U0002b920 \U0002ceb0 \U00030000 \U0002f800",
    "⺀⼀㇀㐀䶿一鿿 ꀀ 가 豈 龘", "😀 😃😄 a😀b 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 1️⃣ ©️ ☺ ☺️ 🤷🏿‍♀️ 🥰 🫠",
    "zero\u200bwidth\u200cnon\u200djoiner\u2060word\ufeffjoiner\u180evowel", "soft\u00adhyphen\u00ad \u00ad", "left\u202eright\u202c \u200fmark\u200e \u2066isolate\u2069",
    "nul\x00bell\x07back\x08vt\x0bff\x0cesc\x1bdel\x7fnel\x85c1\x9fend", "line\u2028para\u2029nbsp\u00a0narrow\u202fmedium\u205fideo\u3000ogham\u1680en\u2002",
    "private\ue000\uf8ff\U000f0000\U0010fffd use", "noncharacter\ufdd0\ufffe\uffff\U0001fffe\U0010ffff", "replacement\ufffdcharacter \ufffc",
    "tags\U000e0001\U000e0041\U000e007f vs\ufe00\ufe0f\U000e0100", "musical \U0001d15e \U0001d173\U0001d17a math 𝐀𝒜𝔸 𝟘 ∑∫√ ≠ ≤ ∉ \u2260 =\u0338",
    "box ┌─┐ █▓▒░ ► ● ■ ★ ☆ ✓ ✗ → ← ↔ ⇒", "superscripts x² y³ H₂O ₁₂₃ ⁴⁵⁶", "roman ⅣⅷⅯ ↁ circled ①②Ⓐⓐ⒜",
    "[CLS] text [SEP] more [MASK] [PAD] [UNK]", "a[SEP]b [sep] [ SEP ] [[SEP]] [SEP][SEP] [CLS", "[unused0] ##ing ## # ### un##able",
    "x" * 99, "x" * 100, "x" * 101, "x" * 200, "é" * 100, "é" * 101, "e\u0301" * 100, "e\u0301" * 101, "中" * 120, "ab " * 150, "-" * 150, "1" * 200,
    "word" * 25, "word" * 26, "\u0301" * 150, "a" + "\u0300\u0316" * 60, "I" * 50 + "\u0307" * 80, "İ" * 60,
    "\u0300", "\u0301a", "a\u0334\u0301\u0323", "a\u0345\u0301", "q\u0307\u0323 q\u0323\u0307", "\u1e9b\u0323", "\u0f71\u0f72\u0f74 \u0f73 \u0f75 \u0f81",
    "Garay \U00010d50\U00010d65 Ʌ Ɤ \ua7cb \ua7dc \u1c89", "Deseret \U00010400\U00010427 Adlam \U0001e900\U0001e921\U0001e944 Cherokee ᎠᏴ ꭰ ᏸ Georgian ᲐᲿ აჿ Ⴀ",
    "Tagalog ᜀ᜴ ᜕ Ahom 𑜞 Sharada 𑇉 syllabics ᙭᙮ Takri 𑚹 Newa 𑑋", "`back` ^caret^ ~tilde~ |pipe| <less> =equal= +plus+ \\slash/",
]

# Where the random lines take their characters from.
BLOCKS = [(0x20, 0x7F), (0x20, 0x7F), (0x61, 0x7B), (0x61, 0x7B), (0x80, 0x250), (0x2B0, 0x370), (0x370, 0x590), (0x590, 0x800), (0x800, 0x1100),
          (0x1100, 0x2000), (0x2000, 0x2070), (0x2070, 0x2E80), (0x2E80, 0xA000), (0xA000, 0xD800), (0xE000, 0xF900),
          (0xF900, 0x10000), (0x10000, 0x11000), (0x11000, 0x12000), (0x16000, 0x17000), (0x1CF00, 0x1D800), (0x1E000, 0x20000),
          (0x20000, 0x32000), (0xE0000, 0xE0200), (0x0, 0xA0), (0, 0x110000)]
MARKS = [0x300, 0x301, 0x307, 0x308, 0x316, 0x323, 0x327, 0x334, 0x345, 0x5B0, 0x64B, 0x93C, 0x94D, 0x302E, 0x302F, 0x1D165, 0x1D16D, 0x16FF0,
         0x8D4, 0x8E1, 0x1AB0, 0x1ABF, 0x1DFB, 0x10D24, 0x10F46, 0x10EFD, 0x11442, 0x1E000, 0x1E130, 0x1E8D0, 0x1E944, 0x1E4EC, 0xA82C]


def character(rng):
    if rng.random() < 0.15:
        return chr(rng.choice(MARKS))
    if rng.random() < 0.2:
        return rng.choice("  \t.,'-")
    begin, end = rng.choice(BLOCKS)
    c = rng.randrange(begin, end)
    return "?" if 0xD800 <= c < 0xE000 else chr(c)


def random_lines(count, seed):
    rng = random.Random(seed)
    return ["".join(character(rng) for _ in range(rng.randrange(1, 60))) for _ in range(count)]


def sweep(step=1):
    """Every code point, each between letters, 64 of them a line."""
    points = [c for c in range(0, 0x110000, step) if not 0xD800 <= c < 0xE000]
    return [" ".join(f"a{chr(c)}b{chr(c)}" for c in points[i:i + 64]) for i in range(0, len(points), 64)]


def lines(random_count, seed=1):
    return WRITTEN + random_lines(random_count, seed)
