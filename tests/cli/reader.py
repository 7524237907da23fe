"""A reader of caches that knows `docs/cache-format.md` and nothing else.

`reader.py CACHE PIPELINE` reads all that is published in the folder CACHE, checks every digest, and prints as JSON what
there is: the records, with the files of each output, and the runs of the pipeline's file at the path PIPELINE. It needs no
package: BLAKE3 is written out below, after its specification.
"""

import json
import os
import re
import struct
import sys
from pathlib import Path

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
SHUFFLE = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
DIAGONALS = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
START, END, PARENT, ROOT, CONTEXT, MATERIAL = 1, 2, 4, 8, 32, 64
MASK = 0xFFFFFFFF


def compress(chain, words, counter, length, flags):
    state = [*chain, *IV[:4], counter & MASK, counter >> 32, length, flags]
    for _ in range(7):
        for i, (a, b, c, d) in enumerate(COLUMNS + DIAGONALS):
            for word, first, second in ((words[2 * i], 16, 12), (words[2 * i + 1], 8, 7)):
                state[a] = (state[a] + state[b] + word) & MASK
                x = state[d] ^ state[a]
                state[d] = (x >> first | x << (32 - first)) & MASK
                state[c] = (state[c] + state[d]) & MASK
                x = state[b] ^ state[c]
                state[b] = (x >> second | x << (32 - second)) & MASK
        words = [words[i] for i in SHUFFLE]
    return [state[i] ^ state[i + 8] for i in range(8)]


def blake3(data, key=IV, mode=0):
    """The first 32 bytes of the hash."""

    def node(start, end, root):
        if end - start <= 1024:
            chain, counter = key, start // 1024
            for at in range(start, max(end, start + 1), 64):
                block = data[at : min(at + 64, end)]
                flags = mode | (START if at == start else 0) | (END | root if at + 64 >= end else 0)
                words = struct.unpack("<16I", block.ljust(64, b"\0"))
                chain = compress(chain, words, counter, len(block), flags)
            return chain
        # The left side has the most whole chunks that are a power of two and leave something to the right.
        chunks = (end - start - 1) // 1024
        middle = start + (1 << (chunks.bit_length() - 1)) * 1024
        words = node(start, middle, 0) + node(middle, end, 0)
        return compress(key, words, 0, 64, mode | PARENT | root)

    return struct.pack("<8I", *node(0, len(data), ROOT))


def derive_key(context, data):
    key = struct.unpack("<8I", blake3(context.encode(), mode=CONTEXT))
    return blake3(data, key, MATERIAL)


def check(holds, what):
    if not holds:
        sys.exit(f"{what}")


def number(value):
    return struct.pack("<Q", value)


def text(value):
    return number(len(value.encode())) + value.encode()


def encoded(value):
    """A JSON value. Python tells whole numbers from real ones as the document does, by how they are written."""
    if value is None:
        return b"\x00"
    if isinstance(value, bool):
        return b"\x02" if value else b"\x01"
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return b"\x03" + value.to_bytes(16, "little", signed=True)
    if isinstance(value, (int, float)):
        return b"\x04" + struct.pack("<d", float(value) + 0.0)
    if isinstance(value, str):
        return b"\x05" + text(value)
    if isinstance(value, list):
        return b"\x06" + number(len(value)) + b"".join(map(encoded, value))
    entries = sorted(value.items(), key=lambda entry: entry[0].encode())
    return b"\x07" + number(len(entries)) + b"".join(text(key) + encoded(item) for key, item in entries)


def fingerprint(recipe):
    inputs = sorted(recipe["inputs"].items(), key=lambda entry: entry[0].encode())
    encoding = text(recipe["kind"]) + number(recipe["revision"]) + encoded(recipe["config"])
    encoding += number(len(inputs))
    encoding += b"".join(text(name) + bytes.fromhex(digest) for name, digest in inputs)
    part = recipe.get("part")
    if part is not None:
        ((kind, extent),) = part.items()
        encoding += text(kind)
        if kind == "rows":
            encoding += number(extent["first"]) + number(extent["rows"])
        else:
            encoding += number(extent) if kind == "step" else text(extent)
    return derive_key("pipe 2026-11 fingerprint v1", encoding).hex()


def is_path(path):
    parts = path.split("/")
    sound = all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in parts)
    return path == "." or sound and "\0" not in path and len(path.encode()) <= 4096


def is_target(path, target):
    parts = target.split("/")
    climbs = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    names = parts[climbs:]
    return target == "." or climbs <= path.count("/") and (not names or names != ["."] and is_path("/".join(names)))


class Cache:
    def __init__(self, root, memory):
        self.root = Path(root)
        at = os.stat(root)
        place = struct.pack("<2Q", at.st_dev, at.st_ino) + os.uname().nodename.encode()
        self.memory = Path(memory) / derive_key("pipe 2026-11 memory v1", place).hex()[:16]
        version = (self.root / "format").read_text()
        check(version == "1\n", f"format {version.strip()} is not 1")
        self.checked = {}

    def bytes_of(self, kind, name, ending=""):
        check(re.fullmatch("[0-9a-f]{64}", name), f"{name} is no name")
        return (self.root / kind / name[:2] / (name[2:] + ending)).read_bytes()

    def names(self, kind):
        for path in sorted((self.root / kind).glob("??/*")):
            yield path.parent.name + path.name.removesuffix(".json")

    def blob(self, name, size=None):
        if name not in self.checked:
            self.checked[name] = self.bytes_of("blobs", name)
            check(blake3(self.checked[name]).hex() == name, f"blob {name} is corrupt")
        data = self.checked[name]
        check(size in (None, len(data)), f"blob {name} has not {size} bytes")
        return data

    def tree(self, name):
        """The bytes of each file of an artifact, by path."""
        tree = json.loads(self.bytes_of("trees", name, ".json"))
        files, folders, links = tree["files"], tree.get("folders", []), tree.get("links", [])
        rich = bool(folders or links or any(file.get("executable") or "\\" in file["path"] for file in files))
        check(tree["format"] == (2 if rich else 1), f"tree {name} has another format")
        every = [file["path"] for file in files], folders, [link["path"] for link in links]
        for paths in every:
            check(all(map(is_path, paths)), f"tree {name} has a path that it must not have")
            check(paths == sorted(set(paths), key=str.encode), f"tree {name} is not in order")
        every = [path for paths in every for path in paths]
        above = {path[:at] for path in every for at, letter in enumerate(path) if letter == "/"}
        check(len(set(every)) == len(every) and not above & set(every), f"tree {name} has one path in two ways")
        check(all(is_target(link["path"], link["target"]) for link in links), f"a link leaves tree {name}")
        encoding = number(len(files))
        for file in files:
            encoding += text(file["path"]) + bytes.fromhex(file["blob"]) + number(file["size"])
            encoding += number(bool(file.get("executable"))) if rich else b""
        if rich:
            encoding += number(len(folders)) + b"".join(map(text, folders))
            encoding += number(len(links)) + b"".join(text(link["path"]) + text(link["target"]) for link in links)
        context = f"pipe 2026-11 tree v{2 if rich else 1}"
        check(derive_key(context, encoding).hex() == name, f"tree {name} is corrupt")
        return {file["path"]: self.blob(file["blob"], file["size"]) for file in files}

    def record(self, name):
        data = self.bytes_of("records", name, ".json")
        seal = f',"checksum":"{blake3(data[:-79]).hex()}"}}'
        check(data[-79:] == seal.encode(), f"the checksum of record {name} is another")
        record = json.loads(data)
        check(record["format"] == 1, f"record {name} has another format")
        check(fingerprint(record["recipe"]) == name, f"record {name} is not of its recipe")
        for part in record.get("parts", []):
            self.bytes_of("records", part, ".json")
        for blob, size in filter(None, [record["log"], *record.get("sources", {}).values()]):
            self.blob(blob, size)
        return record

    def runs(self, pipeline):
        workspace = derive_key("pipe 2026-11 workspace v1", os.fsencode(pipeline)).hex()[:16]
        for path in sorted((self.root / "runs" / workspace).glob("*.json")):
            name = re.fullmatch("([0-9]{20})-([0-9a-f]{8})(-.*)?", path.stem)
            check(name, f"{path.name} is no run")
            yield {
                **json.loads(path.read_text()),
                "id": name[2],
                "name": (name[3] or "-")[1:],
                "pinned": path.with_suffix(".pin").exists(),
            }

    def verified(self):
        """Whether each blob has a mark of some machine."""
        marks = set()
        for path in self.memory.glob("verified-*"):
            data = path.read_bytes()
            marks.update(data[at : at + 16] for at in range(0, len(data), 16))
        for name in self.names("blobs"):
            of = os.stat(self.root / "blobs" / name[:2] / name[2:])
            times = [part for time in (of.st_mtime_ns, of.st_ctime_ns) for part in divmod(time, 10**9)]
            state = bytes.fromhex(name) + struct.pack("<7Q", of.st_dev, of.st_ino, of.st_size, *times)
            yield derive_key("pipe 2026-11 verified v1", state)[:16] in marks

    def memos(self):
        """The files and the results that each memo remembers."""
        for path in sorted(self.memory.glob("memo-*")):
            data = path.read_bytes()
            check(derive_key("pipe 2026-11 memo v1", data[:-32]) == data[-32:], f"{path} is corrupt")
            check(data[:16] == b"pipe memo 1\n\0\0\0\0", f"{path} is no memo")
            at = 16

            def take(count):
                nonlocal at
                at += count
                return data[at - count : at]

            def count():
                return struct.unpack("<Q", take(8))[0]

            files, results = count(), count()
            known = {take(56): take(32).hex() for _ in range(files)}
            found = {}
            for _ in range(results):
                name, _, outputs = take(32).hex(), take(56), {}
                for _ in range(count()):
                    output, digest, _ = take(count()).decode(), take(32).hex(), take(56)
                    outputs[output] = digest
                    for _ in range(count()):
                        self.blob(take(32).hex(), count())
                found[name] = outputs
            check(at == len(data) - 32, f"{path} goes on")
            yield {"files": sorted(known.values()), "results": found}


def main(root, pipeline, memory):
    cache = Cache(root, memory)
    records = []
    for name in cache.names("records"):
        record = cache.record(name)
        outputs = {}
        for output, tree in record["outputs"].items():
            files = cache.tree(tree)
            shown = {path: data.decode(errors="replace") for path, data in files.items() if len(data) < 100}
            outputs[output] = {"digest": tree, "paths": list(files), "texts": shown}
        log = record["log"] and cache.blob(*record["log"]).decode()
        stage, part = record["provenance"]["stage"], record["recipe"].get("part")
        records.append({"fingerprint": name, "stage": stage, "part": part, "log": log, "outputs": outputs})
    for name in cache.names("blobs"):
        cache.blob(name)
    told = {"records": records, "runs": list(cache.runs(pipeline)), "memos": list(cache.memos())}
    print(json.dumps({**told, "verified": list(cache.verified())}))


# The test vectors of BLAKE3 for inputs of 0, 1,025 and 3,072 bytes.
VECTORS = {0: "af1349b9f5f9a1a6", 1025: "d00278ae47eb27b3", 3072: "b98cb0ff3623be03"}
for size, start in VECTORS.items():
    check(blake3(bytes(i % 251 for i in range(size))).hex()[:16] == start, f"BLAKE3 of {size} bytes")
main(*sys.argv[1:])
