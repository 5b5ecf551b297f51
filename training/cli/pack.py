"""`python -m training pack`: the data sets of a configuration in few flat files."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from ..config import Config, Source, plain, read_config
from .fit import add_overrides


def add_parser(commands: Any) -> None:
    """Adds the command to a parser's `commands`."""
    parser = commands.add_parser(
        "pack",
        help="put the data sets of a configuration into few flat files",
        description="Writes each set that a configuration trains on, at the size that it is read "
        "at, to a folder of kind packed below OUT, and OUT/config.yaml, the same configuration "
        "with these sets. Begun again, it goes on where it was.",
    )
    parser.add_argument("config", type=Path, help="YAML file, see training/configs")
    parser.add_argument("output", type=Path, metavar="OUT", help="folder to fill")
    add_overrides(parser)
    parser.add_argument(
        "--width", type=int, help="of the images, instead of the one they are read at"
    )
    parser.add_argument(
        "--quality", type=int, default=84, help="of the JPEGs (default: %(default)s)"
    )
    parser.add_argument(
        "--seeds",
        action="store_true",
        help="pack rendered scenes as their recipe.json, to be rendered where they are trained on",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say how large it gets")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    import yaml
    from tqdm import tqdm

    from lane_sad_ros.files import read_text, replacing, write_text

    from ..augmentation import source_layout
    from ..datasets import Reading
    from ..datasets.packed import Origin, bytes_needed, pack, size_of
    from ..datasets.synthetic import RECIPE

    if not 1 <= options.quality <= 100:
        raise ValueError(f"--quality lies from 1 to 100, not {options.quality}")
    config: Config = read_config(options.config, options.overrides)
    reading = Reading.for_layout(source_layout(config.lane_layout(), config.augmentation), 0)
    if options.width is not None:
        reading = dataclasses.replace(reading, max_width=options.width)
    # Other files of labels beside a recipe may name a part of its scenes.
    names = ("labels.json", RECIPE) if options.seeds else ()
    recipes = {s: s.path.parent / RECIPE for s in config.data if s.path.name in names}
    seeds = [source for source, recipe in recipes.items() if recipe.is_file()]
    sets = {source: source.open(reading) for source in config.data if source not in seeds}
    needed = 0
    for dataset in sets.values():
        size = bytes_needed(dataset, options.quality)
        needed += size
        print(f"{dataset.description}: about {size / 1e6:.1f} MB")
    print(f"about {needed / 1e6:.1f} MB in all -> {options.output}")
    if options.dry_run:
        return
    packed = []
    bar = tqdm(total=sum(map(len, sets.values())), unit="image")
    for number, source in enumerate(config.data):
        folder = options.output / f"{number:02d}_{source.name}"
        if source in seeds:
            recipe, text = folder / RECIPE, read_text(recipes[source])
            if recipe.exists() and read_text(recipe) != text:
                raise ValueError(f"{recipe}: of other scenes; name another folder, or remove it")
            write_text(recipe, text)
            packed.append(dataclasses.replace(source, path=recipe, kind="scenes"))
            continue
        dataset = sets[source]
        origin = Origin(
            dataset.description,
            source.licence,
            source.digest(),
            reading.max_width,
            options.quality,
        )
        pack(dataset, folder, origin, bar.update)
        packed.append(Source(folder, "packed", share=source.share, licence=source.licence))
    bar.close()
    changed = dataclasses.replace(config, data=tuple(packed))
    with replacing(options.output / "config.yaml") as partial:
        partial.write_text(yaml.safe_dump(plain(changed), sort_keys=False), encoding="utf-8")
    written = sum(size_of(s.path if s.kind == "packed" else s.path.parent) for s in packed)
    print(f"{written / 1e6:.1f} MB written; train with {options.output / 'config.yaml'}")
