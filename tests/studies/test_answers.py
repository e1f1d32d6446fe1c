"""The sentences that answer a notebook say what their tables say."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from workbench import KernelConfig, studies
from workbench.model.designs import memdesc


def test_published_claims_counts_verdicts_and_names_those_that_differ():
    rows = [SimpleNamespace(id=f"PC{nr}", verdict=verdict, expected_verdict=verdict)
            for nr, verdict in enumerate(["agrees", "agrees", "differs", "measured elsewhere"], 1)]
    text = " ".join(studies.answers.published_claims(rows=rows).split())
    assert text.startswith("Of 4 published figures 2 agree within their own rounding, 1 do not "
                           "recompute (PC3), and 1 are measurements")
    rows[0].expected_verdict = "differs"
    with pytest.raises(AssertionError):
        studies.answers.published_claims(rows=rows)


def test_memdescs_says_the_orders_and_percentages_of_its_table():
    kernel, words = KernelConfig(), ("memdesc32", "memdesc16", "memdesc8")
    real = pd.DataFrame({"machine": ["m", "m"], "design": ["memdesc8", "static"],
                         "percent_of_ram": [0.25, 1.5]})
    text = studies.answers.memdescs(kernel=kernel, words=words, real=real, captures=["m"])
    text = " ".join(text.split())
    assert f"Folios of order {memdesc.break_even_order(32, kernel)} and up" in text
    assert "the whole comes to 0.250 % against 1.500 %" in text


def test_memory_overhead_follows_its_tables():
    columns = ["total_bytes", "percent_of_ram", "nr_pinned"]
    rows = pd.DataFrame([[1 << 34, 1.5625, 1000]], columns=columns, index=["static"])
    none = pd.DataFrame({"percent": []})
    text = " ".join(studies.answers.memory_overhead(
        clustered_even=none, base=SimpleNamespace(machine="ram=1TiB"), rows=rows,
        beyond={"proxy_bit": 64 << 10, "dynamic_page": 3 << 20}, nr_nodes={1: 131_000, 512: 2_000},
        per_page={1: 790.4, 512: 8.25}, best={1: "a hash", 512: "an XArray"},
        device_even=pd.DataFrame({"percent": [68.1]}), even=pd.DataFrame({"percent": [50.0]})).split())
    assert "static memmap takes 16 GiB (1.562 % of RAM)" in text
    assert "adds 64 KiB with proxies and **3 MiB** with" in text
    assert "need 131,000 XArray nodes, 790 bytes for each page" in text
    assert "in runs of 512 they need 2,000, 8.2 bytes" in text
    assert "in 2 MiB folios, whatever share is in use" in text
