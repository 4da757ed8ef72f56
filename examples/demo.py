"""The main job from end to end on real photographs, showing each command as it runs.

Cuts 2,400 JPEGs from photographs (``photos.py``), keeps those that score well, checks the result,
runs the four examples of NeMo Curator's ``ImageTextPairDataset`` as they stand, and asks a question
in SQL. Everything lies in one folder, ``demo`` of the checkout unless ``--out`` says otherwise.

Run: ``python examples/demo.py [--out FOLDER]``
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import shlex
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

import photos
from shardwright import ImageTextPairDataset

MARKER = ".made-by-shardwright-demo"
console = Console(highlight=False, soft_wrap=True)

# One Parquet file beside each tar: any engine reads them.
QUESTION = """
SELECT source AS photograph, count(*) AS kept,
       round(avg(aesthetic_score), 2) AS aesthetic_score, round(avg(nsfw_score), 2) AS nsfw_score
FROM '{demo}/filtered/*.parquet' GROUP BY source ORDER BY kept DESC
"""


def main() -> None:
    """Run the steps in order and close with the counts."""
    start = time.perf_counter()
    demo = fresh_folder(arguments().out.resolve())

    title("1. A dataset: crops of real photographs, 8 shards in NeMo's pair layout")
    count = photos.write_dataset(demo / "photos")
    console.print(f"{count:,} samples, each KEY.jpg, KEY.txt and KEY.json, lie in {demo}/photos.")
    console.print(
        "Their scores are stand-ins, measured from the pixels with no model behind them:\n"
        "  aesthetic_score  sharpness and colourfulness, not beauty\n"
        "  nsfw_score       share of pixels of a skin-like colour, not content"
    )

    title("2. Keep what scores well, as shards of 250, and check what was written")
    shardwright(
        *("export", f"{demo}/photos", f"{demo}/filtered", "--samples-per-shard", "250"),
        *("--rule", "sharp_and_colourful=aesthetic_score > 0.5"),
        *("--rule", "little_skin=nsfw_score < 0.2"),
    )
    shardwright("verify", f"{demo}/filtered")

    title("3. The same and more from Python, with the interface of NeMo Curator")
    show_and_run(nemo_examples, demo)

    title("4. A question in SQL to the metadata of what was kept")
    question = QUESTION.format(demo=demo)
    console.print(Syntax(question.strip(), "sql", background_color="default"))
    answer = duckdb.execute(question)
    console.print(table([column[0] for column in answer.description], answer.fetchall()))
    exports = (demo / "filtered_tables" / "exports").resolve()
    console.print(f"DuckDB read the Parquet files. Spark SQL gives the same FROM delta.`{exports}`")

    title("5. What there is now")
    summarise(demo, "filtered", "filtered_webdataset", "resharded_webdataset")
    console.print(
        f"{demo}/photos     the source, its sidecars saved again by save_metadata()\n"
        f"{demo}/metadata   three columns of it, one Parquet file for each shard\n"
        f"{demo}/*_tables   Delta tables: photos_tables is the index, each other one the record of its export\n"
        f"All of it lies in {demo.resolve()} and took {time.perf_counter() - start:.0f} seconds."
    )


def nemo_examples(demo: Path) -> None:
    dataset = ImageTextPairDataset.from_webdataset(path=f"{demo}/photos", id_col="id")

    dataset.save_metadata()
    dataset.save_metadata(path=f"{demo}/metadata", columns=["id", "aesthetic_score", "nsfw_score"])

    filtered_col = (dataset.metadata["aesthetic_score"] > 0.5) & (dataset.metadata["nsfw_score"] < 0.2)
    dataset.metadata["keep"] = filtered_col
    dataset.to_webdataset(
        path=f"{demo}/filtered_webdataset",
        filter_column="keep",
        samples_per_shard=10000,
        max_shards=5,
    )

    dataset.metadata["keep"] = True
    dataset.to_webdataset(
        path=f"{demo}/resharded_webdataset",
        filter_column="keep",
        samples_per_shard=20000,
        max_shards=6,
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Run shardwright's main job on real photographs.")
    checkout = Path(__file__).resolve().parents[1]
    parser.add_argument("--out", type=Path, default=checkout / "demo", help="made afresh each time")
    return parser.parse_args()


def fresh_folder(out: Path) -> Path:
    """Empty ``out`` if an earlier demo made it; go to its parent and return its name as a path."""
    if out.exists() and any(out.iterdir()):
        if not (out / MARKER).exists():
            raise SystemExit(f"{out} holds files that no demo made. Pass another folder as --out.")
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / MARKER).touch()
    os.chdir(out.parent)  # so that the commands below read well, and work when pasted there
    return Path(out.name)


def title(text: str) -> None:
    console.print(f"\n[bold cyan]{text}[/bold cyan]")


def shardwright(*words: str) -> None:
    """Show and run a command with the console script of this environment."""
    console.print(f"[bold]$ shardwright {shlex.join(words)}[/bold]")
    result = subprocess.run([Path(sys.executable).with_name("shardwright"), *words], check=False)
    if result.returncode:
        raise SystemExit(result.returncode)


def show_and_run(example: Callable[[Path], None], demo: Path) -> None:
    body = textwrap.dedent(inspect.getsource(example).partition("\n")[2]).rstrip()
    console.print(Syntax(body.replace('f"{demo}', f'"{demo}'), "python", background_color="default"))
    example(demo)


def summarise(demo: Path, *outputs: str) -> None:
    """Show each output's counts from its ``manifest.json``, and stop if they do not add up."""
    rows = []
    for output in outputs:
        manifest = json.loads((demo / output / "manifest.json").read_text())
        indexed, kept, dropped = manifest["indexed"], manifest["kept"], manifest["dropped"]
        exported, shards = manifest["exported"], len(manifest["shards"])
        if indexed != kept + dropped or exported != kept:
            raise SystemExit(f"{output}: the counts do not add up: {manifest}")
        rows.append((f"{demo}/{output}", indexed, kept, dropped, exported, shards))
    console.print(table(["output", "indexed", "= kept", "+ dropped", "exported", "shards"], rows))


def table(columns: Sequence[str], rows: Sequence[tuple[object, ...]]) -> Table:
    drawn = Table()
    for place, column in enumerate(columns):
        drawn.add_column(column, justify="left" if place == 0 else "right")
    for row in rows:
        drawn.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    return drawn


if __name__ == "__main__":
    main()
