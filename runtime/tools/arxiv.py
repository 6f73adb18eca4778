"""Rows for the format arxiv, out of arXiv's own list of papers: what `ftc data arxiv` runs.

    python -m ftc.runtime.tools.arxiv SNAPSHOT OUTPUT CATEGORIES START_DATE

SNAPSHOT is arxiv-metadata-oai-snapshot.json of Kaggle's Cornell-University/arxiv: a paper on each line.
"""

import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from ..errors import RunError, run
from ..rows import Row
from ..rows.json_text import parse_line
from . import row_files

KEPT = ("id", "title", "abstract", "categories", "update_date")


def main() -> None:
    snapshot, output, categories, start = sys.argv[1:]
    rows = papers(snapshot, categories.split(","), start)
    written = row_files.write(Path(output), rows)
    print(f"{output}: {written:,} papers")
    print(f'To train on it: source = "{Path(output).name}", format = "arxiv"')


def papers(snapshot: str, categories: Collection[str], start: str) -> Iterator[Row]:
    """The papers of any of these categories that were updated on the day `start` or later.

    A paper's categories stand in one text, with spaces between: "cs.CL cs.AI". Days are YYYY-MM-DD.
    """
    if not Path(snapshot).is_file():
        raise RunError("missing-file", "there is no such file", where=snapshot)
    wanted = set(categories)
    with Path(snapshot).open("rb") as lines, row_files.bar(row_files.count_lines(snapshot)) as bar:
        for number, line in enumerate(lines, 1):
            bar.update()
            paper = _paper(line, f"{snapshot}:{number}")
            if paper["update_date"] >= start and wanted.intersection(paper["categories"].split()):
                yield paper


def _paper(line: bytes, place: str) -> Row:
    paper = parse_line(line, place)
    if not isinstance(paper, dict) or not all(isinstance(paper.get(key), str) for key in KEPT):
        message = f"no paper of arXiv's snapshot: that has {', '.join(KEPT)}"
        hint = "name arxiv-metadata-oai-snapshot.json of Kaggle's Cornell-University/arxiv"
        raise RunError("bad-row", message, hint, where=place)
    return {key: paper[key] for key in KEPT}


if __name__ == "__main__":
    run(main)
