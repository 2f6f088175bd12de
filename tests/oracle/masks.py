#!/usr/bin/env python3
"""Facet's masks against llguidance's, over Gemma 4's vocabulary: which tokens may come next, at each step of answers to many schemas.

    masks.py PROGRAM [--show N]        PROGRAM: mk_masks; N examples of each kind of difference

Both get the same schemas (tests/data/masks/schemas.json), no white space, and the same vocabulary: a byte token whose byte has an
ordinary piece is in neither.  The walks are Facet's.  Tokens that only one side allows are judged, up to twelve of a step and side,
evenly spaced: that side writes an answer that begins with it, and jsonschema says whether that answer is valid.

- Facet allows it and the answer is not valid, or there is none: an error of Facet.
- llguidance allows it and the answer is valid: Facet is narrower, which must be one of the reasons of NARROWER.
- The other two are llguidance's: it is narrower than the schema (the answer that Facet finds is valid), or wider.
"""
import argparse
import collections
import json
import os
import re
import struct
import subprocess
import sys

import jsonschema
import llguidance
import llguidance.numpy
import numpy as np

from tok_random import vocabulary

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
END = 106                            # <turn|>
SAMPLES = 12                         # judged of one step's differences of one kind


class Words:
    """The vocabulary as llguidance wants it: bytes of each token, special ones apart."""

    def __init__(self):
        pieces, kinds, _ = vocabulary()
        single = {p for p, k in zip(pieces, kinds) if k == 1 and len(p.encode()) == 1}
        self.tokens, self.special_token_ids = [], []
        self.eos_token_id, self.bos_token_id = END, 2
        for i, (p, k) in enumerate(zip(pieces, kinds)):
            text = b""
            if k == 6:
                text = bytes([int(p[3:5], 16)])
                if chr(text[0]).replace(" ", "\u2581") in single or (text == b" " and "\u2581" in pieces):
                    text = b""
            elif k == 1:
                text = p.replace("\u2581", " ").encode()
            else:
                self.special_token_ids.append(i)
            self.tokens.append(text or b"\xff<special %d>" % i)
            if not text and k in (1, 6):
                self.special_token_ids.append(i)
        self.single = {t[0]: i for i, t in enumerate(self.tokens) if len(t) == 1}

    def __call__(self, text):
        """llguidance asks how forced text would be tokenized, to hurry; its masks do not depend on that."""
        return [self.single[b] for b in (text.encode() if isinstance(text, str) else text)]


def strict_json(text):
    def refuse(what):
        raise ValueError(what)
    value = json.loads(text, parse_constant=refuse)
    json.dumps(value, ensure_ascii=False).encode()      # no half of a surrogate pair
    return value


# JSON Schema's patterns are ECMA's; what Python's re says otherwise of these is spelled out for the judge.
SPACE = r"\t\n\v\f\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
ECMA = {r"\s": f"[{SPACE}]", r"\S": f"[^{SPACE}]", r"\d": "[0-9]", r"\w": "[A-Za-z0-9_]", ".": r"[^\n\r\u2028\u2029]", "$": r"\Z"}


def ecma_pattern(_, pattern, instance, __):
    translated = re.sub(r"\[(?:\\.|[^\]\\])*\]|\\.|[.$]", lambda m: ECMA.get(m[0], m[0]), pattern)
    if isinstance(instance, str) and not re.search(translated, instance):
        yield jsonschema.ValidationError("the pattern does not match")


VALIDATOR = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": ecma_pattern})


class Schema:
    def __init__(self, tokenizer, item):
        self.name, self.schema = item["name"], item["schema"]
        options = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":", "coerce_one_of": True,
                   "json_allowed_escapes": "nrbtf\\\"u", "json_allow_general_unicode_escapes": True}
        text = json.dumps(dict(self.schema, **{"x-guidance": options}))
        # no_forcing: where only one text can follow, llguidance would name its usual token alone
        grammar = llguidance.LLMatcher.grammar_from_lark('%llguidance {"no_forcing": true}\nstart: %json ' + text)
        self.first = llguidance.LLMatcher(tokenizer, grammar)
        if self.first.is_error():
            raise SystemExit(f"llguidance refuses {self.name}: {self.first.get_error()}")
        self.validator = VALIDATOR(self.schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)

    def valid(self, text):
        try:
            return self.validator.is_valid(strict_json(text))
        except (ValueError, UnicodeError, RecursionError):
            return False


class Oracle:
    def __init__(self, program):
        self.program = program
        self.words = Words()
        self.tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(self.words), n_vocab=len(self.words.tokens), slices=[])
        with open(os.path.join(ROOT, "tests", "data", "masks", "schemas.json"), encoding="utf-8") as f:
            self.schemas = [Schema(self.tokenizer, item) for item in json.load(f)]
        self.closing = [self.words.single[b] for b in b'"}]']
        self.other = [i for b, i in sorted(self.words.single.items()) if chr(b) in ",:-.@" or chr(b).isalnum()]
        self.state = llguidance.numpy.allocate_token_bitmask(1, len(self.words.tokens))

    def mask(self, matcher):
        llguidance.numpy.fill_next_token_bitmask(matcher, self.state, 0)
        return self.state.view(np.uint8).reshape(-1)

    def complete(self, matcher, token):
        """An answer of llguidance's that goes on with this token; None: no end was found."""
        return self.finish(matcher, token, self.closing) or self.finish(matcher, token, self.closing[:1])

    def finish(self, matcher, token, first):
        m = matcher.deep_copy()
        out = b""
        for turn in range(120):
            if not m.consume_token(token):
                return None
            out += self.words.tokens[token]
            if m.is_accepting():
                return out
            mask = self.mask(m)
            at = turn * 7 % len(self.other)       # not the same character again and again
            order = first + self.other[at:] + self.other[:at] + self.closing
            token = next((i for i in order if mask[i // 8] >> (i % 8) & 1), None)
            if token is None:
                bits = np.flatnonzero(np.unpackbits(mask, bitorder="little"))
                if not len(bits):
                    return None
                token = int(bits[0])
        return None


# Why Facet leaves out what would be valid; each looks at the schema and at the text up to the token's end (docs/constrained.md).
NUMBER = r"(?:^|[\[:,])-?"
NARROWER = {
    "minus zero, which is no integer's usual spelling": lambda s, t: re.search(NUMBER + r"(?<=-)0[.0]*$", t),
    "an exponent of zero": lambda s, t: re.search(NUMBER + r"0(\.0*)?[eE]", t),
    "an exponent above 280": lambda s, t: re.search(NUMBER + r"[0-9.]+[eE][+-]?0*[0-9]{3,}$", t),
    "a format, a little narrower": lambda s, t: "format" in s.schema or re.search(r'"due":"[^"]*$', t),
    "escapes in names that are not declared, beside declared ones":
        lambda s, t: re.search(r'[{,]"[^"]*\\', t) and "additionalProperties" in str(s.schema),
}


class Found:
    """A token that one side alone allows."""

    def __init__(self, schema, step, text, token, answer):
        self.schema, self.step, self.text, self.token, self.answer = schema, step, text, token, answer

    def __str__(self):
        return f"{self.schema.name} {self.step}: {self.text[-50:]!r} | {self.token!r} -> {(self.answer or '')[-60:]!r}"


def facet_answers(oracle, found):
    lines = "".join(f"{f.index} {(f.text + f.token).hex()}\n" for f in found)
    run = subprocess.run([oracle.program, "complete"], input=lines, capture_output=True, text=True, cwd=ROOT, check=True, encoding="utf-8")
    for f, answer in zip(found, run.stdout.split("\n"), strict=False):
        f.answer = answer or None


def judge(f, mine):
    """The kind of a difference; None: an error of Facet's."""
    valid = f.answer is not None and f.schema.valid(f.answer)
    text = (f.text + f.token).decode(errors="replace")
    if mine:
        why = "DEL, which JSON allows" if b"\x7f" in f.token else "the answer is valid"
        return ("llguidance narrower: " + why) if valid else None
    if f.answer is None:
        return "NOT JUDGED: no end was found"
    if not valid:
        return "llguidance wider: the answer is not valid"
    return next(("Facet narrower: " + why for why, test in NARROWER.items() if test(f.schema, text)), None)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("program")
    args.add_argument("--show", type=int, default=2)
    args = args.parse_args()
    oracle = Oracle(args.program)
    size = (len(oracle.words.tokens) + 63) // 64 * 8
    run = subprocess.Popen([args.program, "steps"], stdout=subprocess.PIPE, cwd=ROOT)
    count = collections.Counter()
    found = {True: [], False: []}
    matcher = text = None
    while head := run.stdout.read(16):
        s, walk, step, token = struct.unpack("<4i", head)
        facet = np.frombuffer(run.stdout.read(size), np.uint8)
        schema = oracle.schemas[s]
        if step == 0:
            matcher, text = schema.first.deep_copy(), b""
        if matcher is None:
            count["steps behind a token that llguidance refuses"] += 1
            continue
        theirs = oracle.mask(matcher)[:size]
        differ = np.flatnonzero(np.unpackbits(facet ^ theirs, bitorder="little"))
        count["steps compared"] += 1
        count["of them with equal masks"] += not len(differ)
        count["tokens allowed by Facet"] += int(np.unpackbits(facet).sum())
        for mine in (True, False):
            ids = [int(i) for i in differ if bool(facet[i // 8] >> (i % 8) & 1) == mine]
            count["tokens allowed by Facet alone" if mine else "tokens allowed by llguidance alone"] += len(ids)
            for i in ids[::-(-len(ids) // SAMPLES) or 1]:
                f = Found(schema, f"{walk}.{step}", text, b"" if i == END else oracle.words.tokens[i], None)
                f.index = s
                if not mine:
                    rest = b"" if i == END else oracle.complete(matcher, i)
                    f.answer = None if rest is None else (text + rest).decode(errors="replace")
                found[mine].append(f)
        if token >= 0:
            text += oracle.words.tokens[token]
            if not matcher.consume_token(token):
                matcher = None
    if run.wait() != 0:
        raise SystemExit("mk_masks failed")
    facet_answers(oracle, found[True])
    kinds = collections.defaultdict(list)
    for mine in (True, False):
        for f in found[mine]:
            kinds[judge(f, mine) or ("WRONG: Facet's answer is not valid" if mine else "WRONG: Facet is narrower without a reason")].append(f)
    for what, n in count.items():
        print(f"{what}: {n}")
    print(f"differences judged: {len(found[True]) + len(found[False])}")
    for kind, list_ in sorted(kinds.items()):
        print(f"- {kind}: {len(list_)}")
        for f in list_[::-(-len(list_) // args.show) if args.show else 10**9][:args.show]:
            print(f"    {f}")
    sys.exit(any(k.startswith(("WRONG", "NOT")) for k in kinds))


if __name__ == "__main__":
    main()
