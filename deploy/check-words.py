#!/usr/bin/env python3
"""Holds documents to "How to write" in CONTRIBUTING.md: no line has more than 100 columns, no sentence more than 30 words.

Code blocks, tables and links' targets count for nothing; a code span is one word.
"""
import glob
import re
import sys

COLUMNS, WORDS = 100, 30
DOCUMENTS = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", *sorted(glob.glob("docs/*.md") + glob.glob("deploy/runbooks/*.md"))]


def paragraphs(text):
    """The paragraphs, list items and headings of a document, each with the number of its first line."""
    begun, lines, is_code = 1, [], False
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
            line = ""
        is_plain = not is_code and not line.startswith("|") and not line.startswith("    ")
        is_item = re.match(r"\s*([-*]|\d+\.)\s|#", line)
        if lines and (not is_plain or is_item or not line.strip()):
            yield begun, " ".join(lines)
            lines = []
        if is_plain and line.strip():
            begun = begun if lines else number
            lines.append(line.strip())
    if lines:
        yield begun, " ".join(lines)


def sentences(paragraph):
    plain = re.sub(r"`[^`]*`", "code", paragraph)
    plain = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", plain)
    return re.split(r"(?<=[.!?:;])[\"')*]*\s+(?=[A-Z0-9\"'(*…]|code\b)", plain)


def faults(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    is_code = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("```"):
            is_code = not is_code
        if len(line) > COLUMNS and not is_code and not line.startswith("|"):
            yield f"{path}:{number}: {len(line)} columns, and no line has more than {COLUMNS}"
    for number, paragraph in paragraphs(text):
        for sentence in sentences(paragraph):
            count = len([word for word in sentence.split() if re.search(r"\w", word)])
            if count > WORDS:
                yield f"{path}:{number}: a sentence of {count} words, and none has more than {WORDS}: {sentence[:60]}…"


found = [fault for path in DOCUMENTS for fault in faults(path)]
print("\n".join(found), file=sys.stderr)
sys.exit(bool(found))
