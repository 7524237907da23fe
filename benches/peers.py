"""The pipelines and the clock of peers.sh."""

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

PIPE, VENV = os.environ["PIPE"], Path(os.environ["VENV"]) / "bin"
STAGES = [int(n) for n in os.environ["STAGES"].split()]
FILES, MIB, REPEATS = (int(os.environ[name]) for name in ("FILES", "MIB", "REPEATS"))
ENV = {**os.environ, "DVC_NO_ANALYTICS": "1", "PATH": f"{VENV}:{os.environ['PATH']}"}
RUN = {
    "pipe": [PIPE, "run", "-q"],
    "dvc": ["dvc", "repro", "-q"],
    "snakemake": ["snakemake", "-q", "-c", "1"],
    "doit": ["doit", "-v", "0"],
}


def stages(tool, folder, count):
    """`count` independent stages that each write a line."""
    if tool == "pipe":
        text = "stages:\n" + "".join(
            f'  s{i}:\n    kind: command\n    run: sh -c "echo {i} > $1" - {{outputs.o}}\n    outputs: [o]\n'
            for i in range(count)
        )
        (folder / "pipeline.yaml").write_text(text)
    elif tool == "dvc":
        text = "stages:\n" + "".join(
            f"  s{i}:\n    cmd: echo {i} > s{i}.txt\n    outs: [s{i}.txt]\n" for i in range(count)
        )
        init_dvc(folder)
        (folder / "dvc.yaml").write_text(text)
    elif tool == "snakemake":
        outputs = ", ".join(f'"s{i}.txt"' for i in range(count))
        rules = "".join(
            f'rule s{i}:\n    output: "s{i}.txt"\n    shell: "echo {i} > {{output}}"\n' for i in range(count)
        )
        (folder / "Snakefile").write_text(f"rule all:\n    input: {outputs}\n{rules}")
    else:
        (folder / "dodo.py").write_text(
            "def task_s():\n"
            f"    for i in range({count}):\n"
            '        yield {"name": str(i), "actions": [f"echo {i} > s{i}.txt"],'
            ' "targets": [f"s{i}.txt"], "uptodate": [True]}\n'
        )


def reader(tool, folder):
    """One stage that depends on `data`."""
    if tool == "pipe":
        (folder / "pipeline.yaml").write_text(
            "stages:\n  s:\n    kind: command\n    inputs: { d: { file: data } }\n"
            "    run: sh -c 'ls -d \"$1\" > \"$2\"' - {inputs.d} {outputs.o}\n    outputs: [o]\n"
        )
    else:
        init_dvc(folder)
        (folder / "dvc.yaml").write_text(
            "stages:\n  s:\n    cmd: ls -d data > o\n    deps: [data]\n    outs: [o]\n"
        )


def init_dvc(folder):
    subprocess.run(["dvc", "init", "-q", "--no-scm"], cwd=folder, env=ENV, check=True)


def timed(tool, folder):
    began = time.perf_counter()
    subprocess.run(RUN[tool], cwd=folder, env=ENV, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return 1000 * (time.perf_counter() - began)


def median(tool, folder):
    return statistics.median(timed(tool, folder) for _ in range(REPEATS))


def row(name, values):
    ours = values["pipe"]
    cells = []
    for tool in RUN:
        value = values.get(tool)
        ratio = "" if tool == "pipe" or value is None or isinstance(value, str) else f" ({value / ours:.0f}×)"
        cells.append("–" if value is None else value if isinstance(value, str) else f"{value:.1f}{ratio}")
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main():
    print("| ms | " + " | ".join(RUN) + " |\n| --- |" + " --- |" * len(RUN))
    root = Path(tempfile.mkdtemp(prefix="pipe-peers-"))
    try:
        for count in STAGES:
            first, again = {}, {}
            for tool in RUN:
                folder = root / f"{tool}-{count}"
                folder.mkdir()
                stages(tool, folder, count)
                first[tool] = timed(tool, folder) / count
                timed(tool, folder)
                again[tool] = median(tool, folder)
            row(f"first run of {count} stages, each", first)
            row(f"nothing to do, {count} stages", again)
        first, again, edited = {}, {}, {}
        for tool in ("pipe", "dvc"):
            folder = root / f"{tool}-file"
            folder.mkdir()
            (folder / "data").write_bytes(os.urandom(MIB << 20))
            reader(tool, folder)
            time.sleep(2.5)
            first[tool] = timed(tool, folder)
            timed(tool, folder)
            again[tool] = median(tool, folder)
            # An edit of the same size, with the time of modification put back.
            before, output = os.stat(folder / "data"), result(tool, folder)
            with open(folder / "data", "r+b") as file:
                byte = file.read(1)
                file.seek(0)
                file.write(bytes([byte[0] ^ 1]))
            os.utime(folder / "data", ns=(before.st_atime_ns, before.st_mtime_ns))
            timed(tool, folder)
            edited[tool] = "seen" if result(tool, folder) != output else "not seen"
        row(f"first run on a file of {MIB} MiB", first)
        row("nothing to do on it", again)
        row("an edit of the same size, time put back", edited)
        first, again = {}, {}
        for tool in ("pipe", "dvc"):
            folder = root / f"{tool}-files"
            (folder / "data").mkdir(parents=True)
            for i in range(FILES):
                (folder / "data" / str(i)).write_text(str(i))
            reader(tool, folder)
            time.sleep(2.5)
            first[tool] = timed(tool, folder)
            timed(tool, folder)
            again[tool] = median(tool, folder)
        row(f"first run on {FILES} small files", first)
        row("nothing to do on them", again)
    finally:
        shutil.rmtree(root)


def result(tool, folder):
    """What changes when the stage is run again: for DVC its lock, for us the records."""
    if tool == "dvc":
        return (folder / "dvc.lock").read_text()
    return sorted(str(path) for path in (folder / "cache" / "records").rglob("*.json"))


main()
