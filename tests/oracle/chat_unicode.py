#!/usr/bin/env python3
"""Prints src/text/chat_unicode.inc: the case mappings and the non-printable characters of Python's str."""
import sys, unicodedata


def compress(pairs):
    """(code point, other code point) pairs -> runs (first, last, step, delta)."""
    runs = []
    for cp, to in pairs:
        delta = to - cp
        if runs:
            first, last, step, d = runs[-1]
            gap = cp - last
            if d == delta and gap in (1, 2) and (step in (0, gap)):
                runs[-1] = (first, cp, gap, d)
                continue
        runs.append((cp, cp, 0, delta))
    return [(f, l, s or 1, d) for f, l, s, d in runs]


def cases(method):
    one, many = [], []
    for cp in range(0x80, 0x110000):
        if 0xD800 <= cp < 0xE000:
            continue
        c = chr(cp)
        to = getattr(c, method)()
        if to == c:
            continue
        (one if len(to) == 1 else many).append((cp, ord(to) if len(to) == 1 else to))
    return compress(one), many


def unprintable():
    runs = []
    for cp in range(0x80, 0x110000):
        if chr(cp).isprintable() or 0xD800 <= cp < 0xE000:
            continue
        if runs and runs[-1][1] in (cp - 1, 0xD7FF if cp == 0xE000 else -1):
            runs[-1][1] = cp
        else:
            runs.append([cp, cp])
    return runs


def rows(name, type_, items):
    out, line = [f"static const {type_} {name}[] = {{"], "   "
    for it in items:
        if len(line) + len(it) > 138:
            out.append(line)
            line = "   "
        line += " " + it + ","
    return "\n".join(out + [line, "};"])


def utf8(s):
    return '"' + "".join("\\x%02X" % b for b in s.encode()) + '"'


print(f"""/* Unicode {unicodedata.unidata_version} as Python {sys.version.split()[0]} uses it, printed by tests/oracle/chat_unicode.py.  Not for editing. */""")
for method in ("upper", "lower"):
    one, many = cases(method)
    print(rows(method + "_runs", "case_run", ["{ 0x%X, 0x%X, %d, %d }" % r for r in one]))
    print(rows(method + "_words", "case_word", ["{ 0x%X, %s }" % (cp, utf8(s)) for cp, s in many]))
print(rows("unprintable", "cp_range", ["{ 0x%X, 0x%X }" % tuple(r) for r in unprintable()]))
