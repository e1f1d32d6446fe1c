"""The command line as a script sees it: one JSON document, one line of error, the right exit status."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from workbench import cli
from workbench.cli import main
from workbench.model.files import data_dir

CAPTURES = data_dir() / "captures"


def run(capsys, *args):
    status = main([str(a) for a in args])
    out, err = capsys.readouterr()
    return status, out, err


def answer(capsys, *args):
    status, out, _ = run(capsys, *args, "--json")
    assert status == 0
    return json.loads(out)


def refused(capsys, *args):
    try:
        status, out, err = run(capsys, *args)
    except SystemExit as stop:
        status, (out, err) = stop.code, capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    return err


def test_struct_has_its_keys(capsys):
    found = answer(capsys, "struct", "page", "--kernel", "amd64_6.12")
    assert {"name", "size", "align", "members", "holes", "source"} <= set(found)
    assert (found["name"], found["size"]) == ("page", 64)
    assert {"name", "type", "offset", "size", "bit_offset", "bit_size", "depth"} <= set(found["members"][0])


def test_the_mails_struct_both_ways(capsys, tmp_path):
    source = tmp_path / "mail.c"
    source.write_text("struct dynamic_page { struct page; unsigned long vaddr; unsigned long pfn; };")
    assert answer(capsys, "struct", "--c", source, "--ms-extensions")["size"] == 80
    status, out, err = run(capsys, "struct", "--c", source, "--no-ms-extensions", "--json")
    assert (status, json.loads(out)["size"]) == (0, 16)
    assert "declaration does not declare anything" in err


def test_machine_has_its_keys(capsys):
    found = answer(capsys, "machine", CAPTURES / "amd64-66g-pc-1gblocks-hole")
    assert {
        "nr_pages_ram",
        "nr_sections",
        "memmap_pages",
        "memmap_bytes",
        "max_pfn",
        "nodes",
        "regions",
    } <= set(found)
    assert found["memmap_pages"] == 269312
    assert set(found["regions"][0]) >= {"first_pfn", "end_pfn", "kind", "node", "name"}


def test_pages_has_its_keys_and_sums(capsys):
    found = answer(capsys, "pages", CAPTURES / "microvm-24g-6.18")
    assert len(found["flag_rows"]) == 89
    assert found["nr_pages"] == sum(found["types"].values()) == sum(r["pages"] for r in found["flag_rows"])
    assert found["folio_orders"]["anon"]["9"] == 764
    assert len(answer(capsys, "pages", CAPTURES / "microvm-24g-6.18", "--raw")["flag_rows"]) == 179


def test_pfnmap_has_its_keys(capsys, tmp_path):
    ops = tmp_path / "ops.json"
    ops.write_text('[{"op": "store", "start": 0, "count": 4096, "stride": 1}]')
    found = answer(capsys, "pfnmap", "xarray", "--ops", ops)
    assert (found["nr_nodes"], found["height"], found["node_bytes"]) == (65, 2, 65 * 576)
    assert found["nodes_per_shift"] == {"0": 64, "6": 1}
    assert found["bytes"] == -(-65 // 14) * 8192  # 14 objects of 584 bytes on an order-1 slab
    more = answer(capsys, "pfnmap", "xarray", "--ops", ops, "--nr-cpus", 64)
    assert more["bytes"] == -(-65 // 56) * 32768


def test_verify_passes_on_the_golden_file_and_fails_on_a_wrong_one(capsys, tmp_path):
    golden = data_dir() / "golden/xarray_cases.json"
    found = answer(capsys, "verify", "xarray", golden)
    assert (found["cases"], found["passed"], found["failed"]) == (61, 61, [])
    cases = json.loads(golden.read_text())
    cases["cases"][1]["answer"]["checkpoints"]["final"]["nodes"] += 1
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(cases))
    status, out, _ = run(capsys, "verify", "xarray", wrong, "--json")
    assert (status, json.loads(out)["failed"]) == (1, [cases["cases"][1]["name"]])


def test_overhead_has_its_keys(capsys):
    found = answer(capsys, "overhead", "ram=1TiB", "--design", "static", "dynamic_page", "--pinned", "0.1%")
    rows = found["rows"]
    assert [row["design"] for row in rows] == ["static", "dynamic_page"]
    for row in rows:
        assert {"design", "total_bytes", "parts", "bytes_per_page", "percent_of_ram"} <= set(row)
        assert sum(row["parts"].values()) == row["total_bytes"]


def test_overhead_draws_pinned_folios_from_a_capture(capsys):
    args = ("overhead", "microvm-24g-6.18", "--design", "dynamic_page", "--pinned", "10000")
    drawn = answer(capsys, *args, "--population", "microvm-24g-6.18")["rows"][0]
    scattered = answer(capsys, *args)["rows"][0]
    assert 10000 - 512 <= drawn["nr_pinned"] <= 10000
    assert drawn["exact"] and not scattered["exact"]
    assert drawn["total_bytes"] < scattered["total_bytes"]  # real folios cluster


@pytest.mark.parametrize(
    "args",
    [
        (),
        ("nonesuch",),
        ("struct",),
        ("struct", "nonesuch"),
        ("struct", "page", "--kernel", "vax"),
        ("struct", "page", "--btf", "/nonexistent"),
        ("struct", "--c", "/nonexistent"),
        ("machine", "/nonexistent/capture"),
        ("machine", "ram=1parsec"),
        ("machine",),
        ("pages", "/nonexistent"),
        ("pages", "amd64-66g-pc-1gblocks-hole"),
        ("pfnmap", "xarray", "--ops", "/nonexistent"),
        ("pfnmap", "btree", "--ops", "x"),
        ("pfnmap", "xarray"),
        ("verify", "xarray", "/nonexistent"),
        ("verify", "maple", "x"),
        ("overhead", "ram=1TiB", "--design", "nonesuch"),
        ("overhead", "ram=1TiB", "--pinned", "lots"),
        ("overhead", "ram=1TiB", "--pinned", "101%"),
        ("overhead", "ram=1TiB", "--run-pages", "0"),
        ("overhead", "ram=1TiB", "--pinned", "1%", "--population", "/nonexistent"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_status_2(capsys, args):
    refused(capsys, *args)


@pytest.mark.parametrize("args", [("struct", "--python"), ("verify", "maple", "x"), ("pfnmap", "xarray"),
                                  ("argue",), ("measure",), ("share",)])  # fmt: skip
def test_a_wrong_command_line_says_its_command(capsys, args):
    err = refused(capsys, *args)
    assert err.startswith(f"workbench {args[0]}: ")
    assert "[--version]" not in err


def test_a_command_is_one_file(capsys, tmp_path, monkeypatch):
    (tmp_path / "hello.py").write_text(
        "from workbench.cli._command import Command\n"
        "COMMAND = Command(wing='model', about='says hello', example='workbench hello',\n"
        "                  arguments=lambda sub: sub.add_argument('who'),\n"
        "                  run=lambda args: ({'who': args.who}, lambda: f'hello, {args.who}', 0))\n"
    )
    (tmp_path / "no_command.py").write_text("X = 1\n")
    monkeypatch.setattr(cli, "__path__", [*cli.__path__, str(tmp_path)])
    for name in ("hello", "no_command"):
        monkeypatch.delitem(sys.modules, f"workbench.cli.{name}", raising=False)
    try:
        assert answer(capsys, "hello", "mm") == {"who": "mm"}
        assert run(capsys, "hello", "mm")[:2] == (0, "hello, mm\n")
        assert "hello       says hello" in cli._parser().format_help()
        assert "no_command" not in cli._commands()
    finally:
        for name in ("hello", "no_command"):
            sys.modules.pop(f"workbench.cli.{name}", None)
            vars(cli).pop(name, None)


def test_hostile_names_are_inert_in_messages(capsys, tmp_path):
    folder = tmp_path / "evil\x1b[31m"
    folder.mkdir()
    (folder / "iomem.txt").write_text("00000000-00ffffff : a\nboom\x1b[2J\n")
    assert "\x1b" not in refused(capsys, "machine", folder)


def test_json_is_one_document_and_notes_go_to_stderr():
    command = [sys.executable, "-m", "workbench.cli", "overhead", "ram=1GiB", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    json.loads(done.stdout)
    assert done.stderr.startswith("note: ")


@pytest.mark.parametrize("command", ["struct", "machine", "pages", "pfnmap", "verify", "overhead"])
def test_help_has_an_example(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert f"workbench {command}" in capsys.readouterr().out.split("example:")[1]


@pytest.mark.parametrize(
    "command",
    [
        ("machine", "h100-128g-6.18"),
        ("pages", "debian-6.12-2g"),
        ("struct", "xa_node"),
        ("overhead", "ram=1GiB"),
    ],
)
def test_text_is_for_people(capsys, command):
    status, out, _ = run(capsys, *command)
    assert status == 0
    assert not out.startswith("{")


# -- pins ---------------------------------------------------------------------------------------------------


def test_replay_says_with_what_settings_and_where(capsys):
    machine = "amd64-66g-pc-1gblocks-hole"
    args = ("replay", "pins-fio", "--map", "two_level", "--machine", machine, "--nr-cpus", 8)
    found = answer(capsys, *args)
    assert (found["kernel"], found["nr_cpus"], found["proxy_bytes"]) == ("x86-64", 8, 64)
    assert (found["granularity"], found["gup_fast_known"]) == ("folio", True)
    _, out, _ = run(capsys, *args)
    assert f"all pfns within {machine}" in out and "pins-fio: recorded 12.182 s, complete\n" in out
    assert f"two_level: sized for pfns 0 to {found['span'] - 1:#x}, the last of the machine" in out
    assert "918 us to 983 us" in out
    assert "foll_pin                                -" in out


def test_a_design_without_descriptors_has_no_lifetime_of_one(capsys):
    _, out, _ = run(capsys, "replay", "pins-fio", "--design", "foll_pin")
    assert "lifetime" not in out


def test_the_machine_of_a_replay_ends_with_its_last_region(capsys):
    from workbench.model.memory.machine import Machine

    machine = Machine.load("debian-6.12-4g-nvdimm2g")
    assert machine.span > machine.max_pfn  # the pmem lies above RAM
    assert answer(capsys, "replay", "pins-fio", "--machine", machine.name)["span"] == machine.span


def test_text_says_where_gup_fast_is_an_upper_bound(capsys, tmp_path):
    out = tmp_path / "out.parquet"
    _, text, err = run(capsys, "trace", "import", data_dir() / "traces/bpftrace-pins.txt.gz", "-o", out)
    assert "  without FOLL_PIN " in text and "which pins came through gup_fast" in err
    status, text, _ = run(capsys, "replay", out)
    assert status == 0 and "pins by gup_fast, at most" in text
    assert answer(capsys, "replay", out)["gup_fast_known"] is False


def test_a_negative_counter_is_a_wrong_value(capsys):
    assert "'-1,-1' is not A,R" in refused(capsys, "replay", "pins-fio", "--vmstat", "-1,-1")


def test_help_of_replay_names_the_designs_and_maps(capsys):
    with pytest.raises(SystemExit):
        main(["replay", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "memdesc32, memdesc16" in out and "flat, maple" in out


def test_memory_blocks_that_adjoin_are_one_row(capsys, tmp_path):
    from workbench.cli.machine import _adjoining
    from workbench.model.memory.machine import Machine

    regions = Machine.load("ram=64GiB,hole=3GiB-4GiB").regions
    low = next(r for r in regions if r.kind == "ram")
    middle = low.first_pfn + 100
    others = [r for r in regions if r is not low]
    cut = [replace(low, end_pfn=middle), replace(low, first_pfn=middle), *others]
    assert [(run[0].first_pfn, run[-1].end_pfn) for run in _adjoining(cut)] == [
        (r.first_pfn, r.end_pfn) for r in (low, *others)]
    assert len(_adjoining([low, replace(low, first_pfn=low.end_pfn, end_pfn=low.end_pfn + 1, name="x")])) == 2
