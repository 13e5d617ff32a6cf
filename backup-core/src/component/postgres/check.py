# Holds what was unpacked here against manifest.json. It ends with 1 if anything is wrong. Python 3.6 or newer.
import errno, hashlib, json, os, re, stat, sys

PART = 65536


def raw(text):
    """Names are bytes; those that are no plain text stand as \\xNN."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda byte: bytes.fromhex(byte.group(1).decode()), text.encode())


def sha256(path):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            total.update(block)
    return total.hexdigest()


def parts_sha256(path, size):
    """Of each part that is not zeros alone; holes are not read."""
    total, at = hashlib.sha256(), 0
    with open(path, "rb", buffering=0) as file:
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, getattr(os, "SEEK_DATA", os.SEEK_SET)) // PART * PART
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole is left
                    break
                raise
            os.lseek(file.fileno(), at, os.SEEK_SET)
            part = file.read(PART)
            if part.count(0) < len(part):
                total.update(b"%d %s\n" % (at // PART, hashlib.sha256(part).hexdigest().encode()))
            at += PART
    return total.hexdigest()


def wrong(entry, entries):
    path, kind = raw(entry["path"]), entry.get("type", "file")
    found = os.lstat(path)
    if kind == "directory":
        return None if stat.S_ISDIR(found.st_mode) else "is no directory"
    if kind == "symlink":
        same = stat.S_ISLNK(found.st_mode) and os.readlink(path) == raw(entry["link"])
        return None if same else "is not the link that it was"
    if not stat.S_ISREG(found.st_mode):
        return "is no file"
    if kind == "hardlink":
        entry = entries[entry["link"]]
    whole = entry.get("expanded")
    size = whole["size"] if whole else entry["size"]
    if found.st_size != size:
        return "has %d bytes, not %d" % (found.st_size, size)
    same = parts_sha256(path, size) == whole["parts_sha256"] if whole else sha256(path) == entry["sha256"]
    return None if same else "has other content"


try:
    with open("manifest.json", encoding="utf-8") as file:
        entries = {entry["path"]: entry for entry in json.load(file)["entries"]}
except (OSError, ValueError) as error:
    sys.exit("manifest.json, the last entry, can't be read (%s): not all was unpacked" % error)
bad = 0
for name, entry in entries.items():
    try:
        why = wrong(entry, entries)
    except (FileNotFoundError, NotADirectoryError):
        why = "is missing"
    except OSError as error:
        why = "can't be read: %s" % error.strerror
    if why:
        bad += 1
        print("%s: %s" % (name, why))
if bad:
    sys.exit("%d of %d entries are not as they were: unpack it anew with GNU tar or bsdtar" % (bad, len(entries)))
print("all %d entries are as they were" % len(entries))
