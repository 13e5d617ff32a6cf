# Holds what was unpacked here against manifest.json. It ends with 1 if anything is wrong. Python 3.6 or newer.
import errno, hashlib, json, os, re, stat, sys

PART = 4096


def raw(text):
    """Names are bytes; those that are no plain text stand as \\xNN."""
    return re.sub(rb"\\x([0-9a-f]{2})", lambda byte: bytes.fromhex(byte.group(1).decode()), text.encode())


def shown(text):
    """Bytes of what a terminal minds, or the locale can't write, stand as \\xNN, too."""
    def plain(char):
        if char.isprintable() and char.encode(sys.stdout.encoding, "ignore"):
            return char
        return "".join("\\x%02x" % byte for byte in char.encode("utf-8", "surrogatepass"))
    return "".join(map(plain, text))


def sha256(path):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            total.update(block)
    return total.hexdigest()


def piece(file, at, size):
    """Where the next data begins and ends, in whole parts; all that is left, where the file system can't say."""
    try:
        begin = os.lseek(file.fileno(), at, os.SEEK_DATA)
        end = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
    except (AttributeError, OSError) as error:
        return (size if getattr(error, "errno", None) == errno.ENXIO else at), size
    return begin // PART * PART, min(-(-end // PART) * PART, size)


def parts_sha256(path, size):
    """Of each part that is not zeros alone; holes are not read."""
    total, at, zeros = hashlib.sha256(), 0, bytes(PART)
    with open(path, "rb", buffering=0) as file:
        while at < size:
            at, end = piece(file, at, size)
            while at < end:
                block = os.pread(file.fileno(), min(1 << 20, end - at), at)
                if len(block) % PART and at + len(block) < size or not block:
                    raise OSError(errno.EIO, "it changes while it is read")
                for begin in range(0, len(block), PART):
                    part = block[begin:begin + PART]
                    if part != zeros[:len(part)]:
                        total.update(b"%d %s\n" % ((at + begin) // PART, hashlib.sha256(part).hexdigest().encode()))
                at += len(block)
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
except (OSError, ValueError, LookupError, TypeError) as error:
    sys.exit("manifest.json, the last entry, can't be read (%s): not all was unpacked" % shown(str(error)))
bad = 0
for name, entry in entries.items():
    try:
        why = wrong(entry, entries)
    except (FileNotFoundError, NotADirectoryError):
        why = "is missing"
    except OSError as error:
        why = "can't be read: %s" % error.strerror
    except (ValueError, LookupError, TypeError, AttributeError):
        why = "is malformed in manifest.json"
    if why:
        bad += 1
        print("%s: %s" % (shown(str(name)), why))
if bad:
    sys.exit("%d of %d entries are not as they were: unpack it anew with GNU tar or bsdtar" % (bad, len(entries)))
print("all %d entries are as they were" % len(entries))
