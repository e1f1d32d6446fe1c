"""kill -9 at every step of writing, and a full disk: the old file or the new one, and a rerun succeeds.

A child process runs what writes once per step: an audit hook kills it right before its k-th open for writing,
rename, removal or new folder, until it gets to its end. `workbench trace import` has its own such tests in
tests/pins/test_bad_text.py, `workbench capture` in its own.
"""

import json
import subprocess
import sys

import pytest

from workbench.model.files import data_dir

SETUPS = {
    "compare --html": """
from workbench import cli
from workbench.studies import provenance
provenance._commit = lambda folder: ""
scenarios = folder / "s.toml"
scenarios.write_text('[base]\\nmachine = "ram=1GiB"\\n[[scenario]]\\ndesign = "static"\\n')
target = folder / "page.html"
def write():
    assert cli.main(["compare", str(scenarios), "--html", str(target)]) == 0
whole = lambda: target.read_text().rstrip().endswith("</html>")
""",
    "a cost table": """
from workbench.evidence.lookups.costs import CostTable
table, target = CostTable.load(data / "costs/epyc-2vcpu-full.json"), folder / "table.json"
def write():
    table.save(target)
whole = lambda: CostTable.load(target).rows == table.rows
""",
    "an argument": """
from workbench.studies.argument import Argument
given, target = Argument("A title", proposed="static", about="x" * 100_000), folder / "argument.json"
def write():
    given.save(target)
whole = lambda: Argument.load(target).about == given.about
""",
    "trace import": """
from workbench.evidence.pins.readers import import_text
from workbench.evidence.pins.trace import load_trace
target = folder / "trace.parquet"
def write():
    import_text(data / "traces/perf-script.txt", target)
whole = lambda: len(load_trace(target)) > 100
""",
    "render": """
import nbformat
from workbench.views import pages as render
from workbench.studies import provenance
provenance._commit = lambda folder: ""
source, target = folder / "n.ipynb", folder / "site"
cell = nbformat.v4.new_markdown_cell("# T\\n\\nQ?")
source.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=[cell])))
done = [render.Run(source, render.normalise(render.read(source)), 1.0)]
def write():
    render.publish(done, target)
whole = lambda: {p.name for p in target.iterdir()} >= {"index.html", "n.html"} and all(
    p.read_text().rstrip().endswith("</html>") for p in target.glob("*.html"))
""",
}
CHILD = """
import json, os, resource, signal, sys
from pathlib import Path
folder, data, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
SETUP
write(); assert whole()  # whatever is imported or compiled, is now

def steps_until(step):
    seen = 0
    def hook(event, args):
        nonlocal seen
        writes = event == "open" and isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR)
        if writes or event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir"):
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

def clear():
    import shutil
    shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)

outcomes = []
for old in (False, True):
    for step in range(1, 200):
        clear()
        if old:
            write()
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            if how == "kill":
                steps_until(step)
            else:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (step * 97 - 97, -1))
            try:
                write()
            except BaseException as error:
                os._exit(3 if "rror" in type(error).__name__ else 4)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        there = target.exists() and (not target.is_dir() or any(target.iterdir()))
        state = "whole" if there and whole() else "half" if there else "none"
        if how == "full":
            outcomes.append([old, status, state, sorted(p.name for p in folder.iterdir() if p != target)])
            if step == 4:
                break
        else:
            outcomes.append([old, status, state, []])
            if status == 0:
                break
        clear()
        write()
        assert whole(), "the rerun"
print(json.dumps(outcomes))
"""


def run(name, how, tmp_path):
    code = CHILD.replace("SETUP", SETUPS[name])
    ran = subprocess.run([sys.executable, "-c", code, str(tmp_path), str(data_dir()), how], text=True,
                         capture_output=True, timeout=120, check=False)  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", SETUPS)
def test_a_kill_at_any_step_leaves_the_old_file_or_the_new_one(name, tmp_path):
    outcomes = run(name, "kill", tmp_path)
    assert {status for _, status, *_ in outcomes} == {-9, 0}
    assert all(state == "whole" or (state == "none" and not old) for old, _, state, _ in outcomes), outcomes


@pytest.mark.parametrize("name", SETUPS)
def test_a_full_disk_leaves_no_half_file(name, tmp_path):
    for old, status, state, beside in run(name, "full", tmp_path):
        assert status != 0 and state == ("whole" if old else "none"), (old, status, state)
        assert beside in ([], ["s.toml"], ["n.ipynb"]), beside
