"""How inputs are spoiled: bytes, texts and JSON."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from random import Random
from typing import Any

NUMBERS = (
    *(0, 1, -1, 2, 7, 127, 128, 255, 256, 32767, 32768, 65535, 2**31 - 1, -(2**31), 2**31, 2**32),
    *(2**63 - 1, -(2**63), 2**64, 10**9, 10**30),
    *(0.0, -0.0, 0.5, 1.5, 1e-30, 1e-320, 1e30, 1e308, -1e308, float("nan")),
    *(float("inf"), float("-inf"), 1.0000153, 0.1),
)
FORMS = ("<h", ">h", "<i", ">i", "<q", ">q", "<f", ">f", "<d", ">d", "b")
WORDS = (
    *("", " ", "..", "../x", "/etc/passwd", "a/b", "a\\b", "C:x", "\0", "\n", "\r", "\t", "\ufeff"),
    *(
        "None",
        "null",
        "NaN",
        "true",
        "0",
        "-1",
        "1e999",
        "x" * 1000,
        "\u00fc",
        "u\u0308",
        "\U0001f600",
    ),
    *(
        "os:system",
        "builtins:eval",
        "evil.py:Evil",
        "__class__",
        "#",
        ",",
        '"',
        "'",
        ";",
        "{",
        "[]",
    ),
    *("\u202e", "\ud7ff", "a.h5", ".", "p1_frame01", "1_0", "\u0661", "0x10", "+1", "1e5"),
)


def number_bytes(rng: Random) -> bytes:
    """An extreme number, as a header may hold it."""
    form, value = rng.choice(FORMS), rng.choice(NUMBERS)
    try:
        return struct.pack(form, value if form[-1] in "fd" else int(value))
    except (struct.error, OverflowError, ValueError):
        return struct.pack(form, -1 if form[-1] not in "fd" else float("inf"))


def _place(content: bytearray, rng: Random) -> int:
    """Anywhere, and often in the first half kilobyte, where headers are."""
    return rng.randrange(min(len(content), 512) if rng.random() < 0.4 else len(content))


def _flip(content: bytearray, rng: Random) -> None:
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        content[_place(content, rng)] ^= 1 << rng.randrange(8)


def _cut_end(content: bytearray, rng: Random) -> None:
    del content[_place(content, rng) :]


def _cut_begin(content: bytearray, rng: Random) -> None:
    del content[: rng.choice((1, 2, 4, _place(content, rng)))]


def _cut_middle(content: bytearray, rng: Random) -> None:
    at = _place(content, rng)
    del content[at : at + rng.choice((1, 2, 8, 64, 512))]


def _insert(content: bytearray, rng: Random) -> None:
    at = _place(content, rng)
    content[at:at] = rng.randbytes(rng.choice((1, 2, 4, 16, 300)))


def _append(content: bytearray, rng: Random) -> None:
    size = rng.choice((1, 4, 512))
    content += bytes(size) if rng.random() < 0.5 else rng.randbytes(size)


def _swap(content: bytearray, rng: Random) -> None:
    size = rng.choice((1, 4, 16, 64, 256))
    a, b = _place(content, rng), _place(content, rng)
    content[a : a + size], content[b : b + size] = content[b : b + size], content[a : a + size]


def _repeat(content: bytearray, rng: Random) -> None:
    at, size = _place(content, rng), rng.choice((1, 8, 64, 512))
    content[at:at] = content[at : at + size]


def _fill(content: bytearray, rng: Random) -> None:
    at, size = _place(content, rng), rng.choice((1, 2, 8, 64, 512))
    piece = content[at : at + size]
    content[at : at + size] = bytes([rng.choice((0, 255, 32, 10))]) * len(piece)


def _number(content: bytearray, rng: Random) -> None:
    packed = number_bytes(rng)
    at = _place(content, rng) // len(packed) * len(packed)
    content[at : at + len(packed)] = packed


BYTES = (_flip, _flip, _cut_end, _cut_begin, _cut_middle, _insert, _append, _swap, _repeat, _fill)
BYTES += (_number, _number)


def spoil_bytes(content: bytes, rng: Random) -> tuple[bytes, str]:
    """One to three changes of bytes, and their names."""
    spoiled, done = bytearray(content), []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        change = rng.choice(BYTES)
        if spoiled:
            change(spoiled, rng)
            done.append(change.__name__.strip("_").replace("_", " "))
    return bytes(spoiled), ", ".join(done)


def spoil_text(text: str, rng: Random) -> tuple[bytes, str]:
    """One change of a word, a number, a line or the encoding; sometimes of bytes as well."""
    lines = text.split("\n")
    at, what = rng.randrange(len(lines)), rng.choice(("word", "line", "number", "code", "bytes"))
    if what == "word":
        place = rng.randrange(len(lines[at]) + 1)
        lines[at] = lines[at][:place] + rng.choice(WORDS) + lines[at][place + rng.randrange(3) :]
    elif what == "line":
        change = rng.randrange(4)
        if change == 0:
            del lines[at]
        elif change == 1:
            lines.insert(at, lines[rng.randrange(len(lines))])
        elif change == 2:
            lines[at] = rng.choice(WORDS)
        else:
            lines = lines * rng.choice((2, 50))
    elif what == "number":
        parts = lines[at].split(" " if " " in lines[at] else ",")
        parts[rng.randrange(len(parts))] = str(rng.choice(NUMBERS))
        lines[at] = (" " if " " in lines[at] else ",").join(parts)
    spoiled = rng.choice(("\n",) * 6 + ("\r\n", "\r", "\u2028")).join(lines)
    if what == "code":
        code = rng.choice(("utf-16", "utf-32", "utf-8-sig", "utf-16-le", "cp1252", "utf-7"))
        return spoiled.encode(code, "replace"), f"text in {code}"
    content = spoiled.encode("utf-8", "surrogatepass")
    return spoil_bytes(content, rng) if what == "bytes" else (content, what)


def hostile(rng: Random) -> Any:
    """A value of some type that JSON knows."""
    return rng.choice(
        (
            lambda: rng.choice(NUMBERS),
            lambda: rng.choice(WORDS),
            lambda: rng.choice((None, True, False, [], {}, [[]], {"": None}, [None], 10**400)),
            lambda: [rng.choice(NUMBERS) for _ in range(rng.randrange(5))],
            lambda: {rng.choice(WORDS): rng.choice(NUMBERS)},
            lambda: {
                "name": rng.choice(("url", "whole", "crl", "evil.py:Evil", "os:system", None))
            },
        )
    )()


def paths(value: Any, before: tuple = ()) -> list[tuple]:
    """The places of all values inside a JSON document, the whole one excluded."""
    if not isinstance(value, dict | list):
        return []
    found = []
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        found += [(*before, key), *paths(inner, (*before, key))]
    return found


def spoil_json(
    document: Any, rng: Random, places: Callable[[tuple], bool] = lambda p: True
) -> tuple[bytes, str]:
    """One or two values of another type, keys gone or added, nests of brackets, bytes spoiled."""
    text = json.dumps(document, indent=1)
    if rng.random() < 0.25:
        return spoil_text(text, rng)
    document, done = json.loads(text), []
    for _ in range(rng.choice((1, 1, 1, 2))):
        at = rng.choice([path for path in paths(document) if places(path)] or [()])
        parent = document
        for key in at[:-1]:
            parent = parent[key]
        change = rng.choice(("value",) * 5 + ("gone", "added", "swapped", "nested", "whole"))
        if not at or change == "whole":
            return json.dumps(hostile(rng)).encode(), "another document"
        done.append(f"{'.'.join(map(str, at))} {change}")
        if change == "value":
            parent[at[-1]] = hostile(rng)
        elif change == "gone":
            del parent[at[-1]]
        elif change == "added":
            inner = parent[at[-1]]
            target = inner if isinstance(inner, dict) else parent
            if isinstance(target, dict):
                target[rng.choice(WORDS)] = hostile(rng)
        elif change == "swapped":
            parent[at[-1]] = rng.choice([json.loads(text), at[-1], [parent[at[-1]]]])
        elif change == "nested":
            deep = rng.choice((10, 500, 100_000))
            parent[at[-1]] = "NEST"
            nest = "[" * deep + "]" * deep
            return json.dumps(document).replace('"NEST"', nest).encode(), f"{done[-1]} {deep} deep"
    return json.dumps(document).encode(), ", ".join(done)
