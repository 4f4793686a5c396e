"""README and docs: their Python runs as it stands, their links lead somewhere, the README is short."""

import pathlib
import re

import pytest

from train import configs
from train.display import Display
from train.loop import train

ROOT = pathlib.Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SHORT = ["steps=2", "eval.every=0", "eval.batch_size=64", "batch_size=8", "writers=()"]


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def trained(page, flags, tmp_path, monkeypatch):
    """The record of a short run of `page`, read from the folder in which mine.py lies."""
    monkeypatch.setenv("ISOFLOP_DATA", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    config = configs.config_of(configs.load(str(page)), [*flags, *SHORT])
    return train(config, tmp_path / "run", Display(quiet=True))


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 120


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_a_page_a_network_and_a_task_of_the_readme_train(tmp_path, monkeypatch):
    page, network, task = re.findall(r'<pre lang="python">\n(.*?)</pre>', (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "page.py").write_text('"""Mine."""\n' + page)
    (tmp_path / "mine.py").write_text(network + task)
    record = trained(tmp_path / "page.py", ["model.width=16"], tmp_path, monkeypatch)
    assert record["params_total"] == 64 * 16 + 16 + 16 * 10 + 10


def test_a_network_a_task_and_a_source_of_the_docs_train(tmp_path, monkeypatch):
    (mine,) = (block for block in blocks("docs/train.md") if block.startswith("# mine.py"))
    (tmp_path / "mine.py").write_text(mine)
    names = ["data.name=mine.py:stripes", "model.name=mine.py:Net", "task.name=mine.py:within"]
    record = trained(ROOT / "configs/images/images.py", names, tmp_path, monkeypatch)
    assert record["params_total"] == 64 * 16 + 16 + 16 * 2 + 2, "the page sets the width"
    assert set(record["metrics"]) == {"loss", "accuracy"}


def test_arrays_of_the_docs_train(tmp_path, monkeypatch):
    (mine,) = (block for block in blocks("docs/data.md") if block.startswith("# mine.py"))
    (tmp_path / "mine.py").write_text(mine)
    flags = ["data.name=mine.py:digits", "data.noise=0.2", "model.width=8"]
    record = trained(ROOT / "configs/tables/table.py", flags, tmp_path, monkeypatch)
    assert record["params_total"] == 10 * 8 + 8 + 8 * 8 + 8 + 8 * 10 + 10
