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
# Those that keep what stages read and make by its content.
CACHING = ("pipe", "dvc")
RESTORE = {"pipe": RUN["pipe"], "dvc": ["dvc", "checkout", "-q"]}


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


def copier(tool, folder):
    """One stage whose output is a copy of `data`."""
    if tool == "pipe":
        (folder / "pipeline.yaml").write_text(
            "stages:\n  s:\n    kind: command\n    inputs: { d: { file: data } }\n"
            "    run: cp -r {inputs.d} {outputs.o}\n    outputs: [o]\n"
        )
    else:
        init_dvc(folder)
        (folder / "dvc.yaml").write_text(
            "stages:\n  s:\n    cmd: cp -r data o\n    deps: [data]\n    outs: [o]\n"
        )


def init_dvc(folder):
    subprocess.run(["dvc", "init", "-q", "--no-scm"], cwd=folder, env=ENV, check=True)


def timed(tool, folder, command=None):
    began = time.perf_counter()
    subprocess.run(command or RUN[tool], cwd=folder, env=ENV, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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


def commands(root):
    """Many stages that do next to nothing."""
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


def inputs(root, what, write):
    """A stage that reads much; `write` makes what it reads."""
    first, again, touched, edited = {}, {}, {}, {}
    for tool in CACHING:
        folder = root / f"{tool}-in"
        folder.mkdir()
        write(folder / "data")
        reader(tool, folder)
        time.sleep(2.5)
        first[tool] = timed(tool, folder)
        timed(tool, folder)
        again[tool] = median(tool, folder)
        before = result(tool, folder)
        touched[tool] = statistics.median(touch(tool, folder) for _ in range(REPEATS))
        if result(tool, folder) != before:
            touched[tool] = "runs it again"
        edited[tool] = "seen" if edit(tool, folder) else "not seen"
        if tool == "pipe":
            floor(what, folder / "data")
        shutil.rmtree(folder)
    row(f"first run on {what}", first)
    row("nothing to do on it", again)
    row("after `touch`, content the same", touched)
    row("an edit of the same size, time put back", edited)


def touch(tool, folder):
    """Gives every file another time, and leaves what it holds."""
    files = [path for path in (folder / "data").rglob("*")] or [folder / "data"]
    for file in files:
        os.utime(file)
    time.sleep(2.5)
    return timed(tool, folder)


def edit(tool, folder):
    """Whether an edit is seen that leaves the size, and whose time of modification is put back."""
    data = folder / "data"
    file = data if data.is_file() else next(data.iterdir())
    before, output = os.stat(file), result(tool, folder)
    with open(file, "r+b") as opened:
        byte = opened.read(1)
        opened.seek(0)
        opened.write(bytes([byte[0] ^ 1]))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    timed(tool, folder)
    return result(tool, folder) != output


def floor(what, data):
    """How long `b3sum`, where it is installed, takes for the same bytes."""
    if shutil.which("b3sum") is None:
        return
    files = [data] if data.is_file() else list(data.iterdir())

    def once():
        began = time.perf_counter()
        subprocess.run(["xargs", "-0", "b3sum"], input="\0".join(map(str, files)).encode(), check=True, stdout=subprocess.DEVNULL)
        return 1000 * (time.perf_counter() - began)

    print(f"| `b3sum` of {what} | {statistics.median(once() for _ in range(REPEATS)):.1f} |" + " |" * (len(RUN) - 1))


def outputs(root, what, write):
    """A stage that makes much, and that much placed again after it was removed."""
    first, restored = {}, {}
    for tool in CACHING:
        folder = root / f"{tool}-out"
        folder.mkdir()
        write(folder / "data")
        copier(tool, folder)
        time.sleep(2.5)
        first[tool] = timed(tool, folder)
        restored[tool] = statistics.median(restore(tool, folder) for _ in range(REPEATS))
        shutil.rmtree(folder)
    row(f"a stage that copies {what}", first)
    row("its output restored", restored)


def restore(tool, folder):
    placed = folder / ("out" if tool == "pipe" else "o")
    shutil.rmtree(placed) if placed.is_dir() else placed.unlink()
    time = timed(tool, folder, RESTORE[tool])
    made = folder / ("out/s/o" if tool == "pipe" else "o")
    assert made.exists()
    return time


def alone(root):
    """What only we are asked: to say how we are used, and to find nothing to do in the reference pipeline."""
    folder = root / "reference"
    folder.mkdir()
    row("`pipe --help`", {"pipe": statistics.median(timed("pipe", folder, [PIPE, "--help"]) for _ in range(REPEATS))})
    shutil.copy(Path(__file__).parent.parent / "pipeline.yaml", folder)
    run = [*RUN["pipe"], "--set", "generate.count=5000", "--set", "train.epochs=1"]
    timed("pipe", folder, run)
    timed("pipe", folder, run)
    again = statistics.median(timed("pipe", folder, run) for _ in range(REPEATS))
    row("nothing to do in the reference pipeline, small", {"pipe": again})


def large(path):
    with open(path, "wb") as file:
        for _ in range(MIB):
            file.write(os.urandom(1 << 20))


def small(path):
    path.mkdir()
    for i in range(FILES):
        (path / str(i)).write_text(f"{i:0512}")


def main():
    print("| ms | " + " | ".join(RUN) + " |\n| --- |" + " --- |" * len(RUN))
    root = Path(tempfile.mkdtemp(prefix="pipe-peers-"))
    try:
        commands(root)
        for what, write in ((f"a file of {MIB} MiB", large), (f"{FILES} files of 512 B", small)):
            inputs(root, what, write)
            outputs(root, what, write)
        alone(root)
    finally:
        shutil.rmtree(root)


def result(tool, folder):
    """What changes when the stage is run again: for DVC its lock, for us the records."""
    if tool == "dvc":
        return (folder / "dvc.lock").read_text()
    return sorted(str(path) for path in (folder / "cache" / "records").rglob("*.json"))


main()
